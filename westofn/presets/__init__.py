"""Parameters for the paper's data and for data of one's own: `python -m westofn preset`."""
