"""Metrics and data to `metrics.json`, plots, a terminal table and one self-contained HTML page."""
