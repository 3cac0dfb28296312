"""Pure functions on numbers, sequences and tensors: no files, data frames or transformers."""
