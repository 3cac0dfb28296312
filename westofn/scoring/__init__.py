"""Score the rows of a file with a saved reward model: `westofn score`."""
