"""The only code that touches Parquet: one small module a schema."""
