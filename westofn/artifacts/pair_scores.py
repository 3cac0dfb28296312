"""`pair_scores`: rewards and probabilities of each reward model for each evaluation pair.

written by  eval
read by     report; contains all that accuracy and calibration metrics need
"""

from __future__ import annotations

import polars as pl

from westofn.artifacts.checks import finite, one_of, probability
from westofn.artifacts.table import Check, Column, Table

PAIR_SCORES = Table(
    name="pair_scores",
    description="One model's rewards and probability for one evaluation pair.",
    written_by=("eval",),
    read_by=("report",),
    fields={
        "pair_id": Column(pl.String(), "name of the pair"),
        "set": Column(pl.String(), "test (held-out preferences) or on_policy (policy samples)"),
        "model": Column(pl.String(), "name of the reward model"),
        "reward_chosen": Column(
            pl.Float32(), "raw reward of chosen; null: the model is pairwise", nullable=True
        ),
        "reward_rejected": Column(
            pl.Float32(), "raw reward of rejected; null: the model is pairwise", nullable=True
        ),
        "p_chosen": Column(pl.Float32(), "the model's P(chosen ≻ rejected | x)"),
    },
    key=("set", "pair_id", "model"),
    checks=(
        one_of("set", ("test", "on_policy")),
        finite("reward_chosen"),
        finite("reward_rejected"),
        Check(
            "reward_chosen and reward_rejected are both null or both not",
            pl.col("reward_chosen").is_null() != pl.col("reward_rejected").is_null(),
            ("reward_chosen", "reward_rejected"),
        ),
        probability("p_chosen"),
    ),
)
