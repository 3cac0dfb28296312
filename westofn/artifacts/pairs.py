"""`pairs`: one selected pair for each prompt, as indices into `candidates`.

written by  won_select
read by     filter, eval
"""

from __future__ import annotations

import polars as pl

from westofn.artifacts.checks import at_least, differ, finite, one_of, probability
from westofn.artifacts.table import Check, Column, Table

PAIRS = Table(
    name="pairs",
    description="The pair that the selector chose from a prompt's pool.",
    written_by=("won_select",),
    read_by=("filter", "eval"),
    fields={
        "prompt_id": Column(pl.String(), "name of the prompt; the same in every table"),
        "chosen_index": Column(pl.Int32(), "candidate_index of the preferred response"),
        "rejected_index": Column(pl.Int32(), "candidate_index of the other response"),
        "p_chosen": Column(pl.Float32(), "P_θ(chosen ≻ rejected | x) by the base model"),
        "pool_std": Column(
            pl.Float32(),
            "spread (std) of the candidates' mean margins in the pool; null for a tournament",
            nullable=True,
        ),
        "fault": Column(
            pl.String(),
            "why the pair can train no reward model: a response was cut by the token limit (cut) "
            "or is longer than it (too_long); null: it can",
            nullable=True,
        ),
    },
    key=("prompt_id",),
    checks=(
        at_least("chosen_index", 0),
        at_least("rejected_index", 0),
        differ("chosen_index", "rejected_index"),
        probability("p_chosen"),
        finite("pool_std"),
        Check("pool_std ≥ 0", pl.col("pool_std") < 0, ("pool_std",)),
        one_of("fault", ("cut", "too_long")),
    ),
)
