"""Confidence intervals of means over runs, and of shares of rows.

Means over a few seeds get Student's t interval, because a bootstrap over few values is too narrow.
Shares of rows get Wilson's interval, which also holds near 0 and 1. For means over many prompts,
see `metrics.bootstrap_interval`. This module also classifies an
interval against a reported effect and computes the smallest effect that a few seeds can detect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

from westofn.core import _checks

Side = Literal["below", "around", "above"]
"""Position of an interval relative to a number: below it, around it, or above it."""
Outcome = Literal[
    "reproduces", "smaller but there", "larger", "smaller", "not told apart", "reversed"
]
"""Verdict on a reported effect from the interval of the measured difference."""


@dataclass(frozen=True)
class MeanInterval:
    """Mean and half-width of its t-interval, mean ± half.

    Attributes:
        mean: Mean of the values.
        half: Half-width, Student's t times the standard error, in the values' unit.
        count: Number of values.
    """

    mean: float
    half: float
    count: int

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.mean + self.half


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> MeanInterval:
    """Mean of independent values, such as one value per seed, with its t-interval.

    Args:
        values: (runs,), one value per run, at least 2.
        confidence: Coverage, in (0, 1).

    Raises:
        ValueError: There are fewer than 2 values, a value is not finite, or the confidence is
            out of range.

    >>> interval = mean_interval([1.0, 2.0, 3.0])  # 4.303 × 1 / sqrt(3)
    >>> interval.mean, round(interval.half, 3), interval.count
    (2.0, 2.484, 3)
    """
    rows = _checks.vector("values", values)
    if len(rows) < 2:
        raise ValueError("values has 1 row, needs at least 2 for a spread; run another seed")
    _check_confidence(confidence)
    mean = math.fsum(rows) / len(rows)
    variance = math.fsum((rows - mean) ** 2) / (len(rows) - 1)
    t = _student_t_quantile((1.0 + confidence) / 2.0, len(rows) - 1)
    return MeanInterval(mean, t * math.sqrt(variance / len(rows)), len(rows))


def share_interval(share: float, rows: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share of independent rows (Wilson 1927, JASA 22).

    It also holds for the mean of any numbers in [0, 1], such as rows of which a tie counts half: no
    such number varies more than a share with the same mean, so the interval is wide enough.

    Args:
        share: Mean over the rows, in [0, 1].
        rows: Number of rows, above 0; the effective number for a weighted mean.
        confidence: Coverage, in (0, 1).

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ValueError: An argument is out of range.

    >>> low, high = share_interval(1.0, 4)  # low is 4 / (4 + 1.96²)
    >>> round(low, 4), high
    (0.5101, 1.0)
    """
    if not 0 <= share <= 1 or not rows > 0:
        raise ValueError(f"share is {share} of {rows} rows, needs [0, 1] of more than 0 rows")
    _check_confidence(confidence)
    return wilson_interval(share, rows, float(ndtri((1.0 + confidence) / 2.0)))


def wilson_interval(share: float, rows: float, z: float) -> tuple[float, float]:
    """Wilson's interval for a quantile z of the normal distribution; see `share_interval`."""
    squared = z**2
    centre = (share + squared / (2 * rows)) / (1 + squared / rows)
    spread = math.sqrt(share * (1 - share) / rows + squared / (4 * rows * rows))
    half = z * spread / (1 + squared / rows)
    return max(0.0, centre - half), min(1.0, centre + half)


def detectable_difference(
    deviation: float, count: int, power: float = 0.8, confidence: float = 0.95
) -> float:
    """Smallest true mean difference that a two-sided paired t-test detects with a given power.

    It is (t_((1 + confidence) / 2) + t_power) s / sqrt(n) with n - 1 degrees of freedom, the usual
    approximation of the noncentral t (Bland 2015, An Introduction to Medical Statistics, ch. 18).

    Args:
        deviation: Standard deviation s of the paired differences, at least 0.
        count: Number of differences n, at least 2.
        power: Probability of detection, in [0.5, 1).
        confidence: Coverage of the interval that must exclude zero, in (0, 1).

    Returns:
        The difference, in the unit of `deviation`.

    Raises:
        ValueError: deviation, count, power or confidence is out of range.

    >>> round(detectable_difference(1.0, 9), 3)  # (2.306 + 0.889) / 3
    1.065
    """
    if not 0 <= deviation < math.inf:
        raise ValueError(f"deviation is {deviation}, needs a finite number of at least 0")
    if count < 2:
        raise ValueError(f"count is {count}, needs at least 2 differences for a spread")
    if not 0.5 <= power < 1:
        raise ValueError(f"power is {power}, needs a number in [0.5, 1)")
    _check_confidence(confidence)
    t = _student_t_quantile((1.0 + confidence) / 2.0, count - 1)
    t += _student_t_quantile(power, count - 1)
    return t * deviation / math.sqrt(count)


def side_of(low: float, high: float, number: float) -> Side:
    """Return the position of an interval relative to a number; an end equal to it includes it.

    Args:
        low: Lower end.
        high: Upper end, at least `low`.
        number: Number to compare with.

    Raises:
        ValueError: An end or the number is NaN, or low > high.

    >>> side_of(1.0, 2.0, 0.0), side_of(-1.0, 2.0, 0.0), side_of(-1.0, 0.0, 0.0)
    ('above', 'around', 'around')
    """
    if not low <= high or math.isnan(number):
        raise ValueError(f"interval is {low} to {high} and number {number}, needs low <= high")
    return "above" if low > number else "below" if high < number else "around"


def outcome(low: float, high: float, reported: float) -> Outcome:
    """Compare an interval with a reported effect and with zero.

    | the interval | includes the reported effect | excludes it |
    |---|---|---|
    | lies on the effect's side of zero | reproduces | smaller but there, or larger |
    | includes zero | not told apart | smaller |
    | lies on the other side of zero | | reversed |

    Args:
        low: Lower end of the interval of the difference.
        high: Upper end of the interval.
        reported: Reported effect, not zero.

    Raises:
        ValueError: The reported effect is zero or not finite, or `side_of` refuses the
            interval.

    >>> outcome(0.5, 6.0, 5.2), outcome(-2.7, 0.7, 1.6), outcome(-1.0, 2.0, 1.6)
    ('reproduces', 'smaller', 'not told apart')
    """
    if reported == 0 or not math.isfinite(reported):
        raise ValueError(f"reported is {reported}, needs a finite effect that is not zero")
    if reported < 0:
        low, high, reported = -high, -low, -reported
    zero, effect = side_of(low, high, 0.0), side_of(low, high, reported)
    if zero == "below":
        return "reversed"
    if zero == "around":
        return "not told apart" if effect == "around" else "smaller"
    if effect == "around":
        return "reproduces"
    return "larger" if effect == "above" else "smaller but there"


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, needs a number in (0, 1)")


def _student_t_quantile(p: float, degrees: int) -> float:
    """`scipy.stats.t.ppf` without the second that an import of scipy.stats takes."""
    return float(stdtrit(degrees, p))
