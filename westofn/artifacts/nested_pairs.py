"""`nested_pairs`: the West-of-N pair among the first n candidates, for several n.

written by  won_select
read by     eval (label accuracy against N)
"""

from __future__ import annotations

import polars as pl

from westofn.artifacts.checks import at_least, differ, probability
from westofn.artifacts.table import Check, Column, Table

NESTED_PAIRS = Table(
    name="nested_pairs",
    description="The West-of-N pair among the first n candidates of a prompt.",
    written_by=("won_select",),
    read_by=("eval",),
    fields={
        "prompt_id": Column(pl.String(), "name of the prompt; the same in every table"),
        "n": Column(pl.Int32(), "size of the pool: the first n candidates"),
        "chosen_index": Column(pl.Int32(), "candidate_index of the preferred response"),
        "rejected_index": Column(pl.Int32(), "candidate_index of the other response"),
        "p_chosen": Column(pl.Float32(), "P_θ(chosen ≻ rejected | x) by the base model"),
    },
    key=("prompt_id", "n"),
    checks=(
        at_least("n", 2),
        *(
            Check(
                f"0 ≤ {index} < n",
                (pl.col(index) < 0) | (pl.col(index) >= pl.col("n")),
                (index, "n"),
            )
            for index in ("chosen_index", "rejected_index")
        ),
        differ("chosen_index", "rejected_index"),
        probability("p_chosen"),
    ),
)
