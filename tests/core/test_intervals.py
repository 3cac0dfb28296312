from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.intervals import (
    Outcome,
    detectable_difference,
    mean_interval,
    outcome,
    side_of,
)

# Two-sided 95 %, from printed tables of Student's t.
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@pytest.mark.parametrize(("degrees", "t"), list(enumerate(T_975, start=1)))
def test_half_widths_are_printed_quantiles_times_the_standard_error(degrees, t) -> None:
    values = np.arange(degrees + 1)
    error = values.std(ddof=1) / math.sqrt(degrees + 1)
    assert mean_interval(values).half / error == pytest.approx(t, abs=5e-4)


def test_a_mean_of_four_by_hand() -> None:
    # 1, 2, 3, 6: mean 3, squares 4 + 1 + 0 + 9 = 14, variance 14 / 3, standard error sqrt(14 / 12).
    interval = mean_interval([1, 2, 3, 6])
    half = 3.182446 * math.sqrt(14 / 12)
    assert (interval.mean, interval.count) == (3, 4)
    assert interval.half == pytest.approx(half, abs=1e-5)
    assert (interval.low, interval.high) == (3 - interval.half, 3 + interval.half)


def test_more_confidence_is_wider() -> None:
    # Three degrees of freedom: 5.841 at 99 %, 3.182 at 95 %.
    wide, narrow = mean_interval([1, 2, 3, 6], 0.99), mean_interval([1, 2, 3, 6])
    assert wide.half / narrow.half == pytest.approx(5.8409 / 3.1824, abs=1e-4)


def test_intervals_cover_the_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((4000, 3))
    covered = [abs(i.mean) <= i.half for i in map(mean_interval, samples)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([1.0]), "values has 1 row, needs at least 2"),
        (lambda: mean_interval([]), "values has shape"),
        (lambda: mean_interval([1.0, np.nan]), "values has 1 values that are NaN"),
        (lambda: mean_interval([1, 2], 95), "confidence is 95"),
    ],
)
def test_unfit_arguments_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


class TestDetectableDifference:
    # 80 % quantiles of printed tables: 0.941 of four degrees of freedom, 0.889 of eight.
    @pytest.mark.parametrize(("count", "t_80"), [(5, 0.941), (9, 0.889)])
    def test_it_is_the_sum_of_two_printed_quantiles_in_standard_errors(
        self, count: int, t_80: float
    ) -> None:
        expected = (T_975[count - 2] + t_80) * 0.3 / math.sqrt(count)
        assert detectable_difference(0.3, count) == pytest.approx(expected, rel=1e-3)

    def test_an_effect_of_that_size_is_found_in_four_of_five_repeats(self) -> None:
        count, repeats = 9, 20_000
        effect = detectable_difference(1.0, count)
        draws = np.random.default_rng(0).normal(effect, 1.0, (repeats, count))
        t = draws.mean(1) / (draws.std(1, ddof=1) / math.sqrt(count))
        # The approximation is some hundredths off; chance moves the share by 0.003.
        assert (np.abs(t) > T_975[count - 2]).mean() == pytest.approx(0.8, abs=0.03)

    def test_more_seeds_and_less_spread_see_more(self) -> None:
        assert detectable_difference(1.0, 9) < detectable_difference(1.0, 5)
        assert detectable_difference(2.0, 5) == pytest.approx(2 * detectable_difference(1.0, 5))
        assert detectable_difference(0.0, 5) == 0.0

    def test_half_power_needs_the_half_width_alone(self) -> None:
        values = [1.0, 2.0, 3.0]  # standard deviation 1; the 50 % quantile of t is 0
        assert detectable_difference(1.0, 3, power=0.5) == pytest.approx(mean_interval(values).half)

    @pytest.mark.parametrize(
        ("arguments", "found"),
        [
            ((-1.0, 5), "deviation is -1.0"),
            ((math.nan, 5), "deviation is nan"),
            ((math.inf, 5), "deviation is inf"),
            ((1.0, 1), "count is 1"),
            ((1.0, 5, 1.0), "power is 1.0"),
            ((1.0, 5, 0.8, 0.0), "confidence is 0.0"),
        ],
    )
    def test_what_is_out_of_range_is_refused(self, arguments: tuple, found: str) -> None:
        with pytest.raises(ValueError, match=found):
            detectable_difference(*arguments)


class TestOutcome:
    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (1.0, 6.0, "reproduces"),
            (1.0, 5.0, "reproduces"),  # an end that touches excludes nothing
            (1.0, 4.0, "smaller but there"),
            (6.0, 9.0, "larger"),
            (-1.0, 4.0, "smaller"),
            (0.0, 4.0, "smaller"),
            (-1.0, 6.0, "not told apart"),
            (-3.0, -1.0, "reversed"),
        ],
    )
    def test_every_place_of_an_interval_has_its_outcome_on_either_side(
        self, low: float, high: float, expected: Outcome
    ) -> None:
        assert outcome(low, high, 5.0) == expected
        assert outcome(-high, -low, -5.0) == expected

    @given(
        st.floats(-10, 10), st.floats(0, 10), st.floats(-10, 10).filter(lambda effect: effect != 0)
    )
    def test_it_says_what_is_excluded(self, low: float, width: float, reported: float) -> None:
        high = low + width
        excludes_zero = not low <= 0 <= high
        found = outcome(low, high, reported)
        assert excludes_zero == (found not in ("smaller", "not told apart"))
        assert (low <= reported <= high) == (found in ("reproduces", "not told apart"))

    @pytest.mark.parametrize("reported", [0.0, math.inf, math.nan])
    def test_an_effect_without_a_side_is_refused(self, reported: float) -> None:
        with pytest.raises(ValueError, match="reported is"):
            outcome(-1.0, 1.0, reported)

    @pytest.mark.parametrize("ends", [(2.0, 1.0), (math.nan, 1.0), (0.0, math.nan)])
    def test_ends_in_the_wrong_order_are_refused(self, ends: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="needs low <= high"):
            side_of(*ends, 0.0)
