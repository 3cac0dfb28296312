"""What a reward model is worth: frames and models in, metrics and curves out; no files."""
