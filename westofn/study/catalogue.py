"""What the study shows: its metrics with their units, and its arms by table."""

from __future__ import annotations

from dataclasses import dataclass

from westofn.study.parts import Part

REFERENCE = "hf50"


@dataclass(frozen=True)
class Metric:
    """A measured number as it is shown.

    Attributes:
        title: With its unit, as the head of a column.
        scale: What a value is multiplied by for that unit.
        digits: Decimals that are shown.
        gain: What a sentence calls a difference, after its number; empty where none speaks of it.
    """

    title: str
    scale: float
    digits: int
    gain: str = ""

    @property
    def name(self) -> str:
        """The title without its unit."""
        return self.title.partition(",")[0]

    @property
    def is_share(self) -> bool:
        """Whether it is a share, shown in percent and its differences in points."""
        return self.scale == 100.0


METRICS: dict[str, Metric] = {
    "accuracy": Metric("held-out accuracy, %", 100.0, 1, "points of held-out accuracy"),
    "high_confidence_accuracy": Metric("accuracy on sure pairs, %", 100.0, 1),
    "on_policy_accuracy": Metric("on-policy accuracy, %", 100.0, 1, "points of on-policy accuracy"),
    "best_of_n_gold": Metric("best-of-64 gold", 1.0, 2, "of best-of-64 gold"),
    "best_of_n_win_rate": Metric("best-of-64 win rate, %", 100.0, 1, "points of best-of-64 wins"),
    "ece": Metric("calibration error, %", 100.0, 1),
    "label_accuracy": Metric("right labels, %", 100.0, 1, "points of right labels"),
    "rl_gold": Metric("RL gold", 1.0, 2, "of RL gold"),
    "rl_win_rate": Metric("RL win rate, %", 100.0, 1),
    "rl_kl": Metric("RL KL, nats", 1.0, 1),
}
ACCURACIES = ("accuracy", "on_policy_accuracy")
WITH_GOLD = (*ACCURACIES, "best_of_n_gold")
SHOWN = (*WITH_GOLD, "best_of_n_win_rate")
"""The metrics of the tables of arms."""

MAIN_ARMS = {
    "hf50": "HF50",
    "hf100": "HF100",
    "prior": "HF50 + covariance prior",
    "k1": "West-of-N, round 1",
    "k2": "West-of-N, round 2",
    "k3": "West-of-N, round 3",
}
"""Arms of metrics.json -> their titles, in order."""

PAPER: dict[tuple[str, str, str], float] = {
    ("west", "hf50", "accuracy"): 0.016,  # 70.9 to 72.5 %
    ("west", "hf50", "best_of_n_win_rate"): 0.052,  # 85.2 to 90.4 %
    ("self_training", "hf50", "accuracy"): -0.007,  # 70.9 to 70.2 %
    ("west", "best_random", "accuracy"): 0.03,  # 69.5 to 72.5 %
}
"""Arm, what it is compared with, metric -> the paper's difference (v2, TL;DR), a share."""


@dataclass(frozen=True)
class Group:
    """One table of arms.

    Attributes:
        key: In URLs and plots.
        title: Above the table.
        note: One sentence on what varies.
        part: The part that measures them.
        arms: Name -> title, in order.
        against: The arm that differences are taken to.
        against_part: The part that measures it.
    """

    key: str
    title: str
    note: str
    part: Part
    arms: dict[str, str]
    against: str = REFERENCE
    against_part: Part = Part.BASELINES


FEWER = "Teacher and student see these pairs only."
NOISIER = "On top of the annotators' own noise."

GROUPS: tuple[Group, ...] = (
    Group(
        "baselines",
        "Baselines",
        "HF50 is half of the human pairs; every other arm adds one pair for each prompt of the "
        "other half, mixed 1:1, and takes the same steps.",
        Part.BASELINES,
        {
            "hf50": "HF50",
            "west": "HF50 + West-of-N",
            "hf100": "HF100",
            "self_training": "HF50 + self-training (N = 2)",
            "best_random": "HF50 + best against random",
            "top_bottom16": "HF50 + 16 best with 16 worst",
            "rlaif": "HF50 + RLAIF",
            "rlaif_soft": "HF50 + RLAIF, soft labels",
            "rlcd": "HF50 + RLCD",
            "rlcd_rescored": "HF50 + RLCD, rescored by the judge",
        },
    ),
    Group(
        "prior",
        "The covariance prior instead of synthetic pairs",
        "A linear head on the frozen features of the SFT policy; the prior prefers directions in "
        "which the policy's samples vary, and no candidate is labelled.",
        Part.BASELINES,
        {
            "hf50": "HF50",
            "prior": "HF50 + prior, p by validation",
            "prior_p1": "HF50 + prior, p = 1",
            "west": "HF50 + West-of-N",
            "top_bottom16": "HF50 + 16 best with 16 worst",
            "hf100": "HF100",
        },
    ),
    Group(
        "networks",
        "The same data with trained networks",
        "All weights learn instead of a linear head on frozen features; the same pairs. "
        "Differences are to the network of HF50.",
        Part.NETWORKS,
        {
            "network_hf50": "HF50, network",
            "network_hf50_again": "HF50, network, again",
            "network_west": "HF50 + West-of-N, network",
            "network_top_bottom16": "HF50 + 16 best with 16 worst, network",
            "network_hf100": "HF100, network",
        },
        "network_hf50",
        Part.NETWORKS,
    ),
    Group(
        "linear",
        "The same data with linear heads",
        "A linear head on frozen features learns instead of all weights; the same pairs. "
        "Differences are to the linear head of HF50.",
        Part.NETWORKS,
        {
            "linear_hf50": "HF50, linear",
            "linear_west": "HF50 + West-of-N, linear",
            "linear_top_bottom16": "HF50 + 16 best with 16 worst, linear",
            "linear_hf100": "HF100, linear",
        },
        "linear_hf50",
        Part.NETWORKS,
    ),
    Group(
        "repeats",
        "Controls: another training seed, shuffled labels",
        "What two trainings of one arm differ by, and HF50 with the order of every pair drawn by a "
        "coin.",
        Part.BASELINES,
        {
            "hf50_again": "HF50, again",
            "west_again": "HF50 + West-of-N, again",
            "hf100_again": "HF100, again",
            "shuffled": "shuffled labels",
        },
    ),
    Group(
        "rlaif_bases",
        "West-of-N on top of RLAIF, without human labels",
        "D_L is here labelled by the AI judge; differences are to that data alone.",
        Part.SYNTHETIC_BASES,
        {
            "rlaif_only": "RLAIF",
            "rlaif_west": "RLAIF + West-of-N",
            "rlaif_double": "RLAIF, twice the pairs",
        },
        "rlaif_only",
        Part.SYNTHETIC_BASES,
    ),
    Group(
        "rlcd_bases",
        "West-of-N on top of RLCD, without human labels",
        "D_L is here labelled by the contrast prompt; differences are to that data alone.",
        Part.SYNTHETIC_BASES,
        {
            "rlcd_only": "RLCD",
            "rlcd_west": "RLCD + West-of-N",
            "rlcd_double": "RLCD, twice the pairs",
        },
        "rlcd_only",
        Part.SYNTHETIC_BASES,
    ),
    Group(
        "sizes",
        "Pool size N",
        "West-of-N among the first N of the same 64 candidates.",
        Part.SELECTION,
        {f"n{n}": f"N = {n}" for n in (2, 4, 8, 16, 32, 64)},
    ),
    Group(
        "selectors",
        "Selectors",
        "One pair a prompt unless the name says more; the same pools, teacher and steps.",
        Part.SELECTION,
        {
            "n64": "west (best and worst)",
            "best_below": "best, and the one at mean − 2 sd",
            "best_median": "best and median",
            "quartiles": "upper and lower quartile",
            "confidence75": "pair nearest to confidence 0.75",
            "confidence90": "pair nearest to confidence 0.9",
            "top_bottom4": "4 best with 4 worst",
            "top_bottom16": "16 best with 16 worst",
            "random16": "16 random pairs",
            "distil16": "16 random pairs, soft (distillation)",
        },
    ),
    Group(
        "filters",
        "Filters",
        "West-of-N pairs above a quantile of confidence, of log-likelihood a token, or both.",
        Part.SELECTION,
        {
            "n64": "none",
            "filter_c25": "confidence 0.25",
            "filter_c50": "confidence 0.5",
            "filter_c75": "confidence 0.75",
            "filter_l25": "likelihood 0.25",
            "filter_l50": "likelihood 0.5",
            "filter_c25_l25": "both 0.25",
        },
    ),
    Group(
        "mixing",
        "Mixing and targets",
        "Share of West-of-N pairs in the batch, and the teacher's probability as the target.",
        Part.SELECTION,
        {
            "mix25": "1/4 synthetic",
            "n64": "1/2 synthetic",
            "mix75": "3/4 synthetic",
            "synthetic_only": "only synthetic",
            "soft": "1/2 synthetic, soft labels",
        },
    ),
    Group(
        "comparators",
        "The teacher's comparator",
        "What a student learns from each teacher's pairs.",
        Part.TEACHERS,
        {
            "by_embedding": "embedding, exact",
            "by_pointwise": "pointwise, exact",
            "by_joint": "joint, tournament",
        },
    ),
    Group(
        "ensembles",
        "Ensembles of four teachers",
        "Mean margin, and mean − 1 standard deviation (lower confidence bound); other seeds than "
        "the main pipeline's teacher.",
        Part.TEACHERS,
        {
            "single": "one teacher",
            "ensemble": "mean of 4",
            "ensemble_lcb": "lower bound of 4",
        },
    ),
    *(
        Group(
            key,
            title,
            note,
            Part.DATA,
            {key: name, f"{key}_west": f"{name} + West-of-N"},
            key,
            Part.DATA,
        )
        for key, title, note, name in (
            (
                "human25",
                "A quarter of HF50",
                FEWER,
                "1/4 of HF50",
            ),
            ("human50", "Half of HF50", FEWER, "1/2 of HF50"),
            (
                "noise10",
                "One label in ten flipped",
                NOISIER,
                "HF50, 10 % flipped",
            ),
            (
                "noise20",
                "One label in five flipped",
                NOISIER,
                "HF50, 20 % flipped",
            ),
            ("dropout0", "Student without dropout", "No dropout of the read-out.", "HF50"),
            ("dropout50", "Noisy student", "Dropout 0.5 of the read-out.", "HF50"),
        )
    ),
    Group(
        "human200",
        "West-of-N on top of HF100",
        "Teacher and student see all human pairs; D_U's prompts are labelled twice.",
        Part.DATA,
        {"human200_west": "HF100 + West-of-N"},
        "hf100",
        Part.BASELINES,
    ),
    Group(
        "wide",
        "A wider student",
        "Students from the weights of a wider policy; the teacher stays.",
        Part.SIZE,
        {"wide": "HF50, wide", "wide_west": "HF50 + West-of-N, wide"},
        "wide",
        Part.SIZE,
    ),
)
"""Every table of arms, in the order in which they are shown."""
