"""Ranking of filter settings by validation pairs, and the significance of the best one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from westofn.report.numbers import NORMAL_975, percent, points
from westofn.tuning.grid import KEEP_ALL, Setting


@dataclass(frozen=True)
class Trial:
    """A setting and the metrics of its student.

    Attributes:
        setting: Thresholds of the filter.
        pairs_kept: Synthetic pairs that the filter kept.
        accuracy: Accuracy of the student on human validation pairs.
        loss: Calibrated loss of the student on these pairs.
    """

    setting: Setting
    pairs_kept: int
    accuracy: float
    loss: float


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Sort trials: highest accuracy, lowest loss, most pairs kept, smallest quantiles."""
    return sorted(
        trials, key=lambda trial: (-trial.accuracy, trial.loss, -trial.pairs_kept, trial.setting)
    )


def noise(first: float, second: float, pairs: int) -> float:
    """Return the half-width of the 95 % interval of the difference of two accuracies.

    It treats the accuracies as independent. They are measured on the same `pairs` pairs, on which
    students mostly agree, so the interval is conservative.

    >>> round(noise(0.5, 0.5, 200), 3)  # 1.96 × sqrt(2 × 0.25 / 200)
    0.098
    """
    variance = first * (1 - first) + second * (1 - second)
    return NORMAL_975 * math.sqrt(variance / pairs)


def reading(best_first: Sequence[Trial], pairs: int) -> str:
    """Return a sentence on whether the best setting differs from keeping all pairs.

    Args:
        best_first: Result of `ranked`, including KEEP_ALL.
        pairs: Number of validation pairs.
    """
    winner = best_first[0]
    keep_all = next(trial for trial in best_first if trial.setting == KEEP_ALL)
    if winner is keep_all:
        return "Keeping all pairs is best on validation: there is no evidence for a filter."
    gain = winner.accuracy - keep_all.accuracy
    half = noise(winner.accuracy, keep_all.accuracy, pairs)
    comparison = f"{winner.setting}: {points(gain)} points against keeping all pairs"
    if gain <= half:
        return f"{comparison}, within noise (±{percent(half)}): not significantly different."
    return (
        f"{comparison}, outside the noise of one comparison (±{percent(half)}); the best of "
        f"{len(best_first)} settings is biased upwards."
    )
