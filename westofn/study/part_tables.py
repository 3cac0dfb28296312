"""The tables of the parts that are not of arms: their columns and titles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from westofn.study.catalogue import Metric


@dataclass(frozen=True)
class PartTable:
    """A table of a part as the page shows it.

    Attributes:
        name: Its name in the part's records.
        keys: The columns that name a row.
        title: Above the table.
        note: One sentence on it.
        heads: Column -> how it is shown.
    """

    name: str
    keys: tuple[str, ...]
    title: str
    note: str
    heads: Mapping[str, Metric]


PART_TABLES: tuple[PartTable, ...] = (
    PartTable(
        "theorem",
        ("n",),
        "The theorem, measured",
        "ε = |P_θ − P*| over all pairs of the pools. The bound is the mean of P_θ − ε over the "
        "selected pairs; with the 95 % quantile of ε it is tighter and no theorem.",
        {
            "correct": Metric("right labels, %", 100.0, 1),
            "p_true": Metric("P* of the label, %", 100.0, 1),
            "p_model": Metric("P_θ of the label, %", 100.0, 1),
            "bound": Metric("bound, sup ε, %", 100.0, 1),
            "bound_q95": Metric("bound, 95 % quantile, %", 100.0, 1),
        },
    ),
    PartTable(
        "epsilon",
        ("quantile",),
        "ε of the base model",
        "Quantiles of |P_θ − P*| over pool pairs; quantile 1 is the sup.",
        {"epsilon": Metric("ε", 1.0, 3)},
    ),
    PartTable(
        "confidence",
        ("bin",),
        "Right labels by the base model's confidence",
        "Pool pairs in ten equal bins of the base model's confidence, least sure first.",
        {
            "p_model": Metric("P_θ, %", 100.0, 1),
            "correct": Metric("right, %", 100.0, 1),
            "p_true": Metric("P*, %", 100.0, 1),
        },
    ),
    PartTable(
        "ensembles",
        ("method", "n"),
        "Ensembles and deep pools",
        "Pairs of fewer prompts, from pools of up to 512: does doubt help where N is large?",
        {
            "correct": Metric("right labels, %", 100.0, 1),
            "gold_chosen": Metric("gold of the chosen", 1.0, 2),
            "gold_rejected": Metric("gold of the rejected", 1.0, 2),
        },
    ),
    PartTable(
        "judge",
        ("set", "judge"),
        "The AI judge",
        "Asked in both orders. A flip is a pair whose winner depends on the order.",
        {
            "position_flip_rate": Metric("flips, %", 100.0, 1),
            "first_shown_wins": Metric("first shown wins, %", 100.0, 1),
            "gold_agreement": Metric("agrees with gold, %", 100.0, 1),
        },
    ),
    PartTable(
        "tournament",
        ("comparator", "n"),
        "Tournament against the exact argmax",
        "Agreement on the pair, what the tournament loses, and cycles of three in the pools.",
        {
            "best": Metric("same best, %", 100.0, 1),
            "worst": Metric("same worst, %", 100.0, 1),
            "optimal": Metric("largest margin found, %", 100.0, 1),
            "regret_margin": Metric("regret, logits", 1.0, 4),
            "cyclic_triads": Metric("cyclic triads, %", 100.0, 3),
        },
    ),
    PartTable(
        "policy_pools",
        ("policy", "model"),
        "Rounds: reward models on the pools of each round's policy",
        "The policy after RL of a round answers the test prompts; gold orders its responses.",
        {
            "accuracy": Metric("on-policy accuracy, %", 100.0, 1),
            "pool_gold": Metric("gold of the policy", 1.0, 2),
        },
    ),
    PartTable(
        "fits",
        ("method", "student"),
        "Over-optimisation",
        "Gold against d = √KL, fitted as in Gao et al. 2022: best-of-n d(α − βd), "
        "RL d(α − β log d).",
        {
            "alpha": Metric("α", 1.0, 2),
            "beta": Metric("β", 1.0, 3),
            "largest_distance": Metric("largest d", 1.0, 2),
            "measured_peak": Metric("gold peaks at d", 1.0, 2),
            "gold_at_start": Metric("gold at d = 0", 1.0, 2),
            "gold_at_peak": Metric("gold at its peak", 1.0, 2),
            "gold_at_end": Metric("gold at the end", 1.0, 2),
        },
    ),
)
"""Every table of a part, in the order in which they are shown."""
