"""West-of-N on real human preferences, with models that a CPU trains in minutes."""
