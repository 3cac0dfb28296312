"""`pool_scores`: rewards of each pointwise model for each candidate of the evaluation pools.

written by  eval (0 rows for a pairwise model, which assigns no reward to a single response)
read by     report; contains all that best-of-n metrics need
"""

from __future__ import annotations

import polars as pl

from westofn.artifacts.checks import at_least, finite
from westofn.artifacts.table import Column, Table

POOL_SCORES = Table(
    name="pool_scores",
    description="One model's reward of one candidate of an evaluation pool.",
    written_by=("eval",),
    read_by=("report",),
    fields={
        "prompt_id": Column(pl.String(), "name of the prompt; the same in every table"),
        "candidate_index": Column(pl.Int32(), "place in the prompt's pool, 0 to N - 1"),
        "model": Column(pl.String(), "name of the reward model"),
        "reward": Column(pl.Float32(), "raw reward"),
    },
    key=("prompt_id", "candidate_index", "model"),
    checks=(at_least("candidate_index", 0), finite("reward")),
    may_be_empty=True,
)
