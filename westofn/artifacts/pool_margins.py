"""`pool_margins`: how the teacher orders the candidates of a pool, from which a pair was chosen.

written by  won_select (0 rows for a tournament, which compares only some of the candidates)
read by     report
"""

from __future__ import annotations

import numpy as np
import polars as pl

from westofn.artifacts.checks import at_least, finite, one_of
from westofn.artifacts.pools import IndexArray
from westofn.artifacts.table import Column, Table

MAX_POOLS = 5_000
"""Pools that are written, at most: as many as the report may show."""

POOL_MARGINS = Table(
    name="pool_margins",
    description="The teacher's mean margin of one candidate over the others of its pool.",
    written_by=("won_select",),
    read_by=("report",),
    fields={
        "prompt_id": Column(pl.String(), "name of the prompt; the same in every table"),
        "candidate_index": Column(pl.Int32(), "place in the prompt's pool, 0 to N - 1"),
        "margin": Column(
            pl.Float32(),
            "mean logit that the response is better than another of the pool; of a pointwise model "
            "N/(N - 1) times the reward less the pool's mean",
        ),
        "fault": Column(
            pl.String(),
            "why the candidate may form no pair while two others may: cut by the token limit (cut) "
            "or longer than it (too_long); null: it may",
            nullable=True,
        ),
    },
    key=("prompt_id", "candidate_index"),
    checks=(at_least("candidate_index", 0), finite("margin"), one_of("fault", ("cut", "too_long"))),
    may_be_empty=True,
)


def evenly(total: int, count: int) -> IndexArray:
    """`count` of `total` places at equal distances, the first and the last among them; or all.

    >>> evenly(9, 3).tolist(), evenly(2, 3).tolist()
    ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, total - 1, min(total, count)).round().astype(np.int64)
