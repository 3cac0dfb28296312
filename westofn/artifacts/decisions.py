"""`decisions`: the filter's decision about each selected pair.

written by  filter
read by     eval, report
"""

from __future__ import annotations

import polars as pl

from westofn.artifacts.checks import one_of
from westofn.artifacts.table import Check, Column, Table

REASONS = ("confidence", "likelihood", "empty_response", "identical", "cut", "too_long")

DECISIONS = Table(
    name="decisions",
    description="Whether the filter kept a prompt's pair, and if not, why.",
    written_by=("filter",),
    read_by=("eval", "report"),
    fields={
        "prompt_id": Column(pl.String(), "name of the prompt; the same in every table"),
        "kept": Column(pl.Boolean(), "whether the pair went into the synthetic preferences"),
        "dropped_by": Column(pl.String(), "the first filter that dropped it; null: kept", True),
    },
    key=("prompt_id",),
    checks=(
        one_of("dropped_by", REASONS),
        Check(
            "dropped_by is null if and only if kept",
            pl.col("kept") != pl.col("dropped_by").is_null(),
            ("kept", "dropped_by"),
        ),
    ),
)
