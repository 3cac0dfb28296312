"""Raw data to canonical preferences, prompts and SFT examples."""
