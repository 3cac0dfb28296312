"""Measurements that take longer than a test: public peers side by side, and human preferences."""
