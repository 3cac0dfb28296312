"""A simulation of West-of-N on many GPUs, and its check against workers of this machine."""
