"""West-of-N: synthetic preferences for reward models (arXiv 2401.12086)."""
