"""Committed shards: what is done stays done when a stage is killed."""
