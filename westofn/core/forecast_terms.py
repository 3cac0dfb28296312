"""What a forecast compares and measures, and what people read for it; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """A way to make synthetic pairs: N candidates a prompt, and the k best with the k worst."""

    n_candidates: int
    pairs_a_prompt: int

    @property
    def name(self) -> str:
        """Such as `west N=64 k=16`."""
        return f"west N={self.n_candidates} k={self.pairs_a_prompt}"


OPTIONS = (Option(64, 1), Option(64, 16), Option(2, 1))
PRIOR, TWICE = "prior", "twice the labels"
TITLES: Mapping[str, str] = {
    Option(64, 1).name: "West-of-N, N = 64, one pair a prompt",
    Option(64, 16).name: "West-of-N, N = 64, 16 pairs a prompt",
    Option(2, 1).name: "N = 2, one pair a prompt",
    PRIOR: "covariance prior, p by validation",
    TWICE: "twice the labels",
}
"""Arm -> what people read."""
METRIC_TITLES: Mapping[str, str] = {
    "accuracy": "held-out accuracy, points",
    "on_policy_accuracy": "on-policy accuracy, points",
}
"""What people read, see `CALIBRATION`."""
METRICS = (*METRIC_TITLES, "best_of_n_gold")
"""What the model of `westofn.core.forecast` gives."""


@dataclass(frozen=True)
class Calibration:
    """How gains that happened on the map of worlds relate to those that were forecast.

    Attributes:
        slope: A gain is this part of its forecast, by least squares through the origin.
        spread: Standard deviation, in points, of what a single draw of the labels adds.
    """

    slope: float
    spread: float


CALIBRATION: Mapping[str, tuple[Calibration, Calibration]] = {
    "accuracy": (Calibration(0.7, 0.8), Calibration(1.3, 0.5)),
    "on_policy_accuracy": (Calibration(0.23, 1.1), Calibration(0.3, 2.1)),
}
"""Metric -> of West-of-N and the prior, and of twice the labels; from the first four seeds of
benchmarks/map.json, 36 places each. Features do not show all that gold sees, so the model alone
promises too much on the policy's own responses."""
