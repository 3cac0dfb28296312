from __future__ import annotations

import pytest

from westofn.report.numbers import (
    Measure,
    decimal,
    measure,
    overlap,
    percent,
    points,
    wilson,
)


def test_wilson_of_no_success_ends_at_z_squared_over_n_plus_z_squared() -> None:
    low, high = wilson(0.0, 16)
    assert low == 0.0
    assert high == pytest.approx(3.8414589 / (16 + 3.8414589), rel=1e-6)


def test_wilson_of_one_half_is_symmetric_and_shrinks_with_pairs() -> None:
    low, high = wilson(0.5, 100)
    assert low + high == pytest.approx(1.0)
    wide_low, wide_high = wilson(0.5, 10)
    assert wide_high - wide_low > high - low


@pytest.mark.parametrize("proportion", [0.0, 0.01, 0.99, 1.0])
def test_wilson_stays_between_zero_and_one(proportion: float) -> None:
    low, high = wilson(proportion, 3)
    assert 0.0 <= low <= proportion <= high <= 1.0


def test_intervals_that_touch_overlap() -> None:
    assert overlap(Measure(0.70, 0.68, 0.72), Measure(0.74, 0.72, 0.76)) is True
    assert overlap(Measure(0.74, 0.72, 0.76), Measure(0.70, 0.68, 0.719)) is False


def test_without_an_interval_no_overlap_is_known() -> None:
    assert overlap(Measure(0.9), Measure(0.1, 0.0, 0.2)) is None


def test_what_was_not_measured_is_none() -> None:
    assert measure({"accuracy": 0.7}, "ece") is None
    assert measure({"accuracy": 0.7}, "accuracy") == Measure(0.7, None, None)


def test_small_negatives_round_to_a_zero_without_a_sign() -> None:
    assert decimal(-0.004) == "0.00"
    assert percent(-0.0004) == "0.0"
    assert points(-0.0004) == "0.0"
    assert points(0.0004) == "0.0"
    assert points(0.0006) == "+0.1"
    assert points(-0.0106) == "−1.1"
    assert points(0.10) == "+10.0"
