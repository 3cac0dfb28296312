"""`verdicts`: a preference judge's probabilities for each pair, asked in both orders.

written by  study_judge
read by     study: RLAIF, RLCD rescored
"""

from __future__ import annotations

import polars as pl

from westofn.artifacts.checks import not_blank, probability
from westofn.artifacts.table import Check, Column, Table

VERDICTS = Table(
    name="verdicts",
    description="One judge's probabilities for one pair of responses, asked in both orders.",
    written_by=("study_judge",),
    read_by=("study",),
    fields={
        "prompt_id": Column(pl.String(), "name of the prompt; the same in every table"),
        "first": Column(pl.String(), "one response; may be empty"),
        "second": Column(pl.String(), "the other response; may be empty"),
        "p_forward": Column(
            pl.Float32(), "P(first is better) when first is shown first; 0.5: no answer"
        ),
        "p_backward": Column(
            pl.Float32(), "P(first is better) when second is shown first; 0.5: no answer"
        ),
        "unanswered": Column(pl.Int32(), "orders without an answer, counted as ties: 0, 1 or 2"),
        "judge": Column(pl.String(), "simulated, llm:NAME, or openai:NAME"),
    },
    key=("prompt_id", "first", "second", "judge"),
    checks=(
        probability("p_forward"),
        probability("p_backward"),
        Check("unanswered is 0, 1 or 2", ~pl.col("unanswered").is_between(0, 2), ("unanswered",)),
        Check(
            "an unanswered pair has p_forward or p_backward 0.5",
            (pl.col("unanswered") > 0)
            & (pl.col("p_forward") != 0.5)
            & (pl.col("p_backward") != 0.5),
            ("unanswered", "p_forward", "p_backward"),
        ),
        not_blank("judge"),
    ),
)
