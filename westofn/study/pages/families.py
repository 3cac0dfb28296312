"""The figures of paired differences: which arms they show, and what the differences are to."""

from __future__ import annotations

from dataclasses import dataclass

from westofn.study.catalogue import ACCURACIES, WITH_GOLD

CONDITIONS = {
    "west": "settings of the main run",
    "human25": "1/4 of HF50",
    "human50": "1/2 of HF50",
    "human200": "HF100, all human pairs",
    "noise10": "1 label in 10 flipped",
    "noise20": "1 label in 5 flipped",
    "dropout0": "student without dropout",
    "dropout50": "noisy student, dropout 0.5",
    "wide": "a wider student",
}
"""Group -> the setting in which West-of-N is compared with HF50."""


@dataclass(frozen=True)
class Family:
    """Arms that are compared in one figure.

    Attributes:
        key: Key of the figure.
        title: Title of the figure.
        note: What varies, and what the differences are to.
        groups: Keys of their groups in the catalogue.
        metrics: A panel each.
        against: What the differences are to, in a sentence.
        base: An arm of the same part that the others vary; empty where there is none.
        base_name: The name of that arm in a sentence.
    """

    key: str
    title: str
    note: str
    groups: tuple[str, ...]
    metrics: tuple[str, ...] = ACCURACIES
    against: str = "HF50"
    base: str = ""
    base_name: str = ""


FAMILIES: tuple[Family, ...] = (
    Family(
        "baselines",
        "Every way to add data, against HF50",
        "HF50 is a student of half of the human pairs. HF100 sees all of them; the other arms add "
        "to HF50 one synthetic pair for each prompt of the other half, mixed 1:1, and take the "
        "same steps. “Again” is the same data with another training seed: the noise of one "
        "training. In “shuffled labels” a coin orders the pairs of HF50.",
        ("baselines", "repeats"),
        WITH_GOLD,
    ),
    Family(
        "prior",
        "The covariance prior instead of synthetic pairs",
        "Linear heads on the frozen features of the SFT policy. The prior w ~ N(0, s·Σ_π^p) "
        "prefers directions in which the policy's samples vary; it labels no candidate. "
        "Differences to HF50.",
        ("prior",),
        WITH_GOLD,
    ),
    Family(
        "networks",
        "The same data with trained networks",
        "All weights of the network learn instead of a linear head. “Again” is the same data with "
        "another training seed: the noise of one training. Differences to the network of HF50.",
        ("networks",),
        WITH_GOLD,
        "the network of HF50",
    ),
    Family(
        "synthetic_bases",
        "West-of-N on top of RLAIF and RLCD, without human labels",
        "Differences to a student of the same AI-labelled pairs alone: RLAIF, where an AI judge "
        "labels two responses, or RLCD, where the prompt that made a response is its label. "
        "Twice the pairs: more such pairs in the place of West-of-N.",
        ("rlaif_bases", "rlcd_bases"),
        WITH_GOLD,
        "the same AI-labelled pairs alone",
    ),
    Family(
        "selectors",
        "Which pair of a pool to take",
        "One pair a prompt unless the name says more; the same pools, teacher and steps. "
        "Differences to HF50.",
        ("selectors",),
        base="n64",
        base_name="best with worst",
    ),
    Family(
        "filters",
        "Filters of West-of-N pairs",
        "Only the pairs above a quantile of the teacher's confidence, of the log-likelihood a "
        "token, or of both. Differences to HF50.",
        ("filters",),
        base="n64",
        base_name="no filter",
    ),
    Family(
        "mixing",
        "Mixing human and synthetic pairs, and soft targets",
        "The share of West-of-N pairs in a batch; with soft labels the teacher's probability is "
        "the target. Differences to HF50.",
        ("mixing",),
        base="n64",
        base_name="1/2 synthetic with hard labels",
    ),
    Family(
        "comparators",
        "The teacher's comparator",
        "What a student learns from the pairs of each kind of teacher. Differences to HF50.",
        ("comparators",),
        base="by_embedding",
        base_name="the embedding comparator",
    ),
    Family(
        "ensembles",
        "Ensembles of four teachers",
        "Pairs selected by one teacher, by the mean margin of four, or by that mean less one "
        "standard deviation (lower bound). Differences to HF50.",
        ("ensembles",),
    ),
    Family(
        "conditions",
        "What West-of-N adds with less, more or noisier human data, and to other students",
        "Each row is a setting, and shows HF50 + West-of-N less HF50 where both are trained in it: "
        "a share of HF50's pairs, all human pairs, flipped labels, another dropout, a wider "
        "student.",
        tuple(CONDITIONS),
        against="the same setting without West-of-N",
    ),
)
"""Every figure of paired differences, in reading order."""
