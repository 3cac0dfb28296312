"""Networks: model families, their common interface, loading, adapters and precision."""
