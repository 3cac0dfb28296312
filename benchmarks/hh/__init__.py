"""West-of-N on real human preferences: Anthropic's HH, with models that a CPU trains in minutes."""
