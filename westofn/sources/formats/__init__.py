"""Formats of preferences, demonstrations and prompts, one module for each format.

Preference formats: `texts`, `conversations`, `ratings`, `ultrafeedback`, `tldr`. A format converts
each row to one outcome: a canonical pair, or the reason to drop the row.
"""
