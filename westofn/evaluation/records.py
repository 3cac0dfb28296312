"""The shapes in which measurements leave the package: flat JSON objects."""

from __future__ import annotations

from collections.abc import Mapping

from westofn.core.metrics import Interval

Value = float | int | str
Record = dict[str, Value]


def with_interval(key: str, interval: Interval) -> Record:
    """The mean under `key`, the ends of its interval under `key`_low and `key`_high.

    >>> with_interval("accuracy", Interval(0.5, 0.25, 0.75))
    {'accuracy': 0.5, 'accuracy_low': 0.25, 'accuracy_high': 0.75}
    """
    return {key: interval.mean, f"{key}_low": interval.low, f"{key}_high": interval.high}


def measured(values: Mapping[str, Value | None]) -> Record:
    """The values that were measured: None is left out.

    >>> measured({"a": 0.0, "b": None})
    {'a': 0.0}
    """
    return {key: value for key, value in values.items() if value is not None}
