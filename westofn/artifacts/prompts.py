"""`prompts`: prompts without labels: D_U for synthetic pairs, test prompts for best-of-n.

written by  prepare
read by     base_rm, sample, rlhf, eval
"""

from __future__ import annotations

import polars as pl

from westofn.artifacts.checks import not_blank, one_of
from westofn.artifacts.table import Column, Table

PROMPTS = Table(
    name="prompts",
    description="One prompt to sample responses for.",
    written_by=("prepare",),
    read_by=("base_rm", "sample", "rlhf", "eval"),
    fields={
        "prompt_id": Column(pl.String(), "name of the prompt; the same in every table"),
        "prompt": Column(pl.String(), "text before the response"),
        "split": Column(pl.String(), "unlabeled (D_U) or test (best-of-n)"),
    },
    key=("prompt_id",),
    checks=(not_blank("prompt"), one_of("split", ("unlabeled", "test"))),
)
