"""Rewards and margins of texts in JSONL, by a saved model: `python -m westofn score`."""
