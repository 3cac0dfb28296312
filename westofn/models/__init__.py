"""Policies, reward models, tokenizers, and how they are saved and loaded."""
