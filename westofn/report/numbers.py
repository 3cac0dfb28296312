"""Measured numbers with their intervals, and how they are written in text and tables."""

from __future__ import annotations

from dataclasses import dataclass

from westofn.core.intervals import wilson_interval
from westofn.report.inputs import Record

NORMAL_975 = 1.959964
"""The 97.5 % quantile of the standard normal distribution: a two-sided 95 % interval."""

MISSING = "–"


@dataclass(frozen=True)
class Measure:
    """A value and its 95 % interval; `low` and `high` are both None where none was measured."""

    value: float
    low: float | None = None
    high: float | None = None


def measure(record: Record, key: str) -> Measure | None:
    """The measure `key` of a record with `key`_low and `key`_high; None when not measured."""
    if key not in record:
        return None
    return Measure(record[key], record.get(f"{key}_low"), record.get(f"{key}_high"))


def overlap(first: Measure, second: Measure) -> bool | None:
    """Whether the two intervals overlap; None when one of them is not known.

    >>> overlap(Measure(0.70, 0.68, 0.72), Measure(0.73, 0.71, 0.75))
    True
    >>> overlap(Measure(0.70, 0.68, 0.72), Measure(0.75, 0.73, 0.77))
    False
    """
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return None
    return first.low <= second.high and second.low <= first.high


def wilson(proportion: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion of `n` pairs (Wilson 1927).

    Stays inside [0, 1] and is not empty at 0 or 1, so that small bins show their width.

    >>> low, high = wilson(0.5, 100)
    >>> round(low, 4), round(high, 4)
    (0.4038, 0.5962)
    """
    return wilson_interval(proportion, n, NORMAL_975)


def percent(value: float, digits: int = 1) -> str:
    """A share in percent, without the sign.

    >>> percent(0.7123)
    '71.2'
    """
    return decimal(100 * value, digits)


def decimal(value: float, digits: int = 2) -> str:
    """A number with a true minus sign, and no minus before zero.

    >>> decimal(-0.5), decimal(-0.001)
    ('−0.50', '0.00')
    """
    rounded = round(value, digits) + 0.0
    return f"{rounded:.{digits}f}".replace("-", "−")


def points(difference: float) -> str:
    """A difference of shares in percentage points, signed.

    >>> points(0.0132), points(-0.02), points(0.0)
    ('+1.3', '−2.0', '0.0')
    """
    return signed(100 * difference, 1)


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign; zero has none.

    >>> signed(0.5), signed(-0.5), signed(0.001)
    ('+0.50', '−0.50', '0.00')
    """
    text = decimal(value, digits)
    return f"+{text}" if text.strip("0.") and not text.startswith("−") else text


def percent_interval(measured: Measure) -> str:
    """A share with its interval, for running text.

    >>> percent_interval(Measure(0.7, 0.68, 0.72))
    '70.0 % (68.0 to 72.0)'
    """
    text = f"{percent(measured.value)} %"
    if measured.low is None or measured.high is None:
        return text
    return f"{text} ({percent(measured.low)} to {percent(measured.high)})"


def decimal_interval(measured: Measure) -> str:
    """A number with its interval, for running text.

    >>> decimal_interval(Measure(3.6, 3.5, 3.7))
    '3.60 (3.50 to 3.70)'
    """
    text = decimal(measured.value)
    if measured.low is None or measured.high is None:
        return text
    return f"{text} ({decimal(measured.low)} to {decimal(measured.high)})"
