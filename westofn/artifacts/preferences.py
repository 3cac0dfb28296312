"""`preferences`: labelled pairs, human and synthetic, in one schema.

written by  prepare (human, ai_judge, contrast), filter (west_of_n)
read by     base_rm, student_rm, filter, eval
"""

from __future__ import annotations

import polars as pl

from westofn.artifacts.checks import differ, not_blank, one_of, one_split_a_prompt, probability
from westofn.artifacts.table import Column, Table

SPLITS = ("train", "validation", "test", "autorater")
LABEL_SOURCES = ("human", "west_of_n", "ai_judge", "contrast")

PREFERENCES = Table(
    name="preferences",
    description="One labelled pair: the preferred and the other response to a prompt.",
    written_by=("prepare", "filter"),
    read_by=("base_rm", "student_rm", "filter", "eval"),
    fields={
        "pair_id": Column(pl.String(), "name of the pair"),
        "prompt_id": Column(pl.String(), "name of the prompt; the same in every table"),
        "prompt": Column(pl.String(), "text before the responses"),
        "chosen": Column(pl.String(), "the preferred response"),
        "rejected": Column(pl.String(), "the other response"),
        "split": Column(
            pl.String(), "train, validation, test, or autorater (for the independent judge)"
        ),
        "source": Column(pl.String(), "data set and subset, such as hh/helpful-base"),
        "label_source": Column(pl.String(), "who labelled: human, west_of_n, ai_judge, contrast"),
        "p_chosen": Column(
            pl.Float32(), "labeller's probability that chosen is better; null: hard label", True
        ),
    },
    key=("pair_id",),
    checks=(
        not_blank("prompt"),
        not_blank("chosen"),
        not_blank("rejected"),
        differ("chosen", "rejected"),
        one_of("split", SPLITS),
        one_split_a_prompt(),
        one_of("label_source", LABEL_SOURCES),
        probability("p_chosen"),
    ),
)
