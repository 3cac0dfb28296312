"""Evaluate a saved reward model on the files of public benchmarks: `westofn bench`."""
