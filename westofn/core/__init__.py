"""Pure numbers, sequences and tensors: no files, no frames, no transformers."""
