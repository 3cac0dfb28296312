"""Names and titles of the arms and metrics of a forecast; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """A way to make synthetic pairs: the k best against the k worst of N candidates a prompt."""

    n_candidates: int
    pairs_a_prompt: int

    @property
    def name(self) -> str:
        """Key of the option's arm, such as `west N=64 k=16`."""
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
"""Arm -> title in printed tables."""
METRIC_TITLES: Mapping[str, str] = {
    "accuracy": "held-out accuracy, points",
    "on_policy_accuracy": "on-policy accuracy, points",
}
"""Metric -> title in printed tables, for the metrics that have a `CALIBRATION`."""
METRICS = (*METRIC_TITLES, "best_of_n_gold")
"""The metrics that `westofn.core.forecast` computes."""


@dataclass(frozen=True)
class Calibration:
    """Relation between measured gains on the map of worlds and forecast gains.

    Attributes:
        slope: Measured gain / forecast gain, by least squares through the origin.
        spread: Standard deviation of the residual, in points, for one draw of the labels.
    """

    slope: float
    spread: float


CALIBRATION: Mapping[str, tuple[Calibration, Calibration]] = {
    "accuracy": (Calibration(0.87, 1.0), Calibration(1.14, 1.4)),
    "on_policy_accuracy": (Calibration(0.5, 1.6), Calibration(0.67, 2.8)),
}
"""Metric -> calibration of West-of-N and the prior, and calibration of twice the labels.

Fitted on the nine seeds of benchmarks/map.json, 36 places each. Slopes are below 1 on the
policy's responses because the features do not contain all that the gold annotator sees."""
