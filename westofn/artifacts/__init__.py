"""Artifact files: one module for each Parquet schema, JSON files and atomic writes."""
