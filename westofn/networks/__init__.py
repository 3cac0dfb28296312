"""Networks: the families, what they share, and how they are loaded and trained."""
