"""`sft`: demonstrations for supervised fine-tuning, one prompt and response per row.

written by  prepare
read by     sft
"""

from __future__ import annotations

import polars as pl

from westofn.artifacts.checks import not_blank, one_of, one_split_a_prompt
from westofn.artifacts.table import Column, Table

SFT = Table(
    name="sft",
    description="One demonstration: a prompt and the response that the policy learns to give.",
    written_by=("prepare",),
    read_by=("sft",),
    fields={
        "sft_id": Column(pl.String(), "name of the demonstration"),
        "prompt_id": Column(pl.String(), "name of the prompt; the same in every table"),
        "prompt": Column(pl.String(), "text before the response"),
        "response": Column(pl.String(), "text that the policy learns to give"),
        "split": Column(pl.String(), "train or validation"),
    },
    key=("sft_id",),
    checks=(
        not_blank("prompt"),
        not_blank("response"),
        one_of("split", ("train", "validation")),
        one_split_a_prompt(unless_only=True),
    ),
)
