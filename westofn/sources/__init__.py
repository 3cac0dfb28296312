"""Read raw data into canonical preferences, prompts and demonstrations."""
