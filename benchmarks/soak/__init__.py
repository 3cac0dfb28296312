"""Faults at every call of every stage that changes a file."""
