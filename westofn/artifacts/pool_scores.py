"""`pool_scores`: a pointwise model's reward of each candidate of the evaluation pool.

written by  eval (0 rows for a pairwise model, which gives a response no reward of its own)
read by     report; every best-of-n metric can be computed from it
"""

from __future__ import annotations

import polars as pl

from westofn.artifacts.checks import at_least, finite
from westofn.artifacts.table import Column, Table

POOL_SCORES = Table(
    name="pool_scores",
    description="One model's reward of one candidate of the evaluation pool.",
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
