"""The map of worlds: where West-of-N helps, by linear heads and by trained networks."""
