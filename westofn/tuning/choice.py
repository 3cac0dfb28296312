"""Which setting is best on validation pairs, and what that is worth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from westofn.report.numbers import NORMAL_975, percent, points
from westofn.tuning.grid import KEEP_ALL, Setting


@dataclass(frozen=True)
class Trial:
    """A setting and the student that it gave.

    Attributes:
        setting: Thresholds of the filter.
        pairs_kept: Synthetic pairs that the filter kept.
        accuracy: Of the student on human validation pairs.
        loss: Its calibrated loss on them.
    """

    setting: Setting
    pairs_kept: int
    accuracy: float
    loss: float


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Best first: accuracy, then the loss, then the most pairs, then the smallest quantiles."""
    return sorted(
        trials, key=lambda trial: (-trial.accuracy, trial.loss, -trial.pairs_kept, trial.setting)
    )


def noise(first: float, second: float, pairs: int) -> float:
    """Half-width of the 95 % interval of a difference of two accuracies on `pairs` pairs.

    The two are taken as independent. They are of the same pairs, on which students mostly agree,
    so that this is rather too wide than too narrow.

    >>> round(noise(0.5, 0.5, 200), 3)  # 1.96 × sqrt(2 × 0.25 / 200)
    0.098
    """
    variance = first * (1 - first) + second * (1 - second)
    return NORMAL_975 * math.sqrt(variance / pairs)


def reading(best_first: Sequence[Trial], pairs: int) -> str:
    """One line: whether the winner is told apart from keeping all pairs.

    Args:
        best_first: As `ranked` returns them; KEEP_ALL is among them.
        pairs: Validation pairs.
    """
    winner = best_first[0]
    keep_all = next(trial for trial in best_first if trial.setting == KEEP_ALL)
    if winner is keep_all:
        return "Keeping all pairs is best on validation: nothing speaks for a filter."
    gain = winner.accuracy - keep_all.accuracy
    half = noise(winner.accuracy, keep_all.accuracy, pairs)
    against = f"{winner.setting}: {points(gain)} points against keeping all pairs"
    if gain <= half:
        return f"{against}, within noise (±{percent(half)}): not told apart from it."
    return (
        f"{against}, outside the noise of one comparison (±{percent(half)}); the best of "
        f"{len(best_first)} looks better than it is."
    )
