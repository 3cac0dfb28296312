"""A server of rewards: `python -m westofn serve`."""
