"""What the hot loops cost beside what users have: one module a row of docs/performance.md."""

import os

# Before polars and torch are imported, which read them then: a ratio is of one thread to one.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
