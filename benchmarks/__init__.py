"""Measurements that take longer than a test: several seeds, and public peers side by side."""
