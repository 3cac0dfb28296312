"""Score texts in JSONL with a saved reward model: `westofn score`."""
