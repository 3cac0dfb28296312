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
    paired_difference,
    side_of,
    student_t_quantile,
    wilson_interval,
)

# Two-sided 95 %, from printed tables of Student's t.
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@pytest.mark.parametrize(("degrees", "t"), list(enumerate(T_975, start=1)))
def test_quantiles_are_those_of_printed_tables(degrees, t) -> None:
    assert student_t_quantile(0.975, degrees) == pytest.approx(t, abs=5e-4)


@pytest.mark.parametrize("p", [0.5, 0.6, 0.9, 0.975, 0.999])
def test_one_and_two_degrees_have_closed_forms(p: float) -> None:
    # Cauchy: tan(pi (p - 1/2)). Two degrees: (2p - 1) sqrt(2 / (1 - (2p - 1)^2)).
    inside = 2 * p - 1
    assert student_t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-11)
    two = inside * math.sqrt(2 / (1 - inside**2))
    assert student_t_quantile(p, 2) == pytest.approx(two, rel=1e-11)


@given(st.floats(0.01, 0.99), st.integers(1, 40))
def test_quantiles_are_odd_around_one_half_and_grow_with_p(p, degrees) -> None:
    t = student_t_quantile(p, degrees)
    assert t == pytest.approx(-student_t_quantile(1 - p, degrees), abs=1e-9)
    assert student_t_quantile(p + 0.005, degrees) > t


@pytest.mark.parametrize("degrees", [9999, 10000])
def test_many_degrees_approach_the_normal(degrees: int) -> None:
    # t - z = (z^3 + z) / (4 degrees) to first order, here 0.000237.
    assert student_t_quantile(0.975, degrees) == pytest.approx(1.959964 + 0.000237, abs=2e-6)


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


def test_what_a_seed_does_to_both_arms_cancels() -> None:
    # Differences 1, 1, 2: mean 4/3, squares 1/9 + 1/9 + 4/9, variance 1/3, standard error 1/3.
    gain = paired_difference([101, 1, 52], [100, 0, 50])
    assert gain.mean == pytest.approx(4 / 3)
    assert gain.half == pytest.approx(4.302653 / 3, abs=1e-5)


@given(st.integers(1, 200), st.data(), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_ends_are_where_the_score_test_turns(trials, data, confidence) -> None:
    successes = data.draw(st.integers(0, trials))
    found = wilson_interval(successes, trials, confidence)
    z = {0.5: 0.674490, 0.9: 1.644854, 0.95: 1.959964, 0.99: 2.575829}[confidence]
    assert 0 <= found.low <= found.share <= found.high <= 1
    # |share - end| = z sqrt(end (1 - end) / trials) defines both ends (Wilson 1927).
    for end in (found.low, found.high):
        spread = z * math.sqrt(end * (1 - end) / trials)
        assert abs(found.share - end) == pytest.approx(spread, abs=1e-5)


def test_no_success_has_an_interval_of_some_width() -> None:
    # Upper end z^2 / (n + z^2) = 3.8415 / 13.8415.
    found = wilson_interval(0, 10)
    assert (found.share, found.low) == (0, 0)
    assert found.high == pytest.approx(3.841459 / 13.841459, abs=1e-6)


@given(st.integers(1, 50), st.data())
def test_failures_mirror_successes(trials, data) -> None:
    successes = data.draw(st.integers(0, trials))
    one, other = wilson_interval(successes, trials), wilson_interval(trials - successes, trials)
    assert one.low == pytest.approx(1 - other.high)
    assert one.high == pytest.approx(1 - other.low)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: student_t_quantile(1.0, 3), r"p is 1.0, needs a number in \(0, 1\)"),
        (lambda: student_t_quantile(0.9, 0), "degrees is 0, needs at least 1"),
        (lambda: mean_interval([1.0]), "values has 1 row, needs at least 2"),
        (lambda: mean_interval([]), "values has shape"),
        (lambda: mean_interval([1.0, np.nan]), "values has 1 values that are NaN"),
        (lambda: mean_interval([1, 2], 95), "confidence is 95"),
        (lambda: paired_difference([1, 2], [1, 2, 3]), "shapes differ"),
        (lambda: wilson_interval(0, 0), "trials is 0"),
        (lambda: wilson_interval(3, 2), "successes is 3, needs a number from 0 to 2"),
        (lambda: wilson_interval(1, 2, 0.0), "confidence is 0.0"),
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
