from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.metrics import (
    Interval,
    ReliabilityBin,
    accuracy,
    bootstrap_interval,
    brier,
    confidence_and_correctness,
    correctness,
    expected_calibration_error,
    length_diagnostics,
    paired_bootstrap_difference,
    reliability_curve,
)

MARGINS = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30)
FORECASTS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]), st.sampled_from([0.0, 0.5, 1.0])),
    min_size=1,
    max_size=40,
)


def test_a_tie_counts_half() -> None:
    assert accuracy([1.0, -1.0, 0.0, 5.0]) == (1 + 0 + 0.5 + 1) / 4


def test_accuracy_is_a_mean_over_rows_not_over_batches() -> None:
    # Batches of 8, 8 and 1: the mean of batch accuracies would be (1 + 1 + 0) / 3.
    assert accuracy([1.0] * 16 + [-1.0]) == pytest.approx(16 / 17)


@given(MARGINS)
def test_swapping_every_pair_turns_accuracy_round(margin) -> None:
    assert accuracy(margin) + accuracy([-value for value in margin]) == pytest.approx(1.0)


@given(MARGINS, st.floats(0.01, 100))
def test_accuracy_does_not_depend_on_scale(margin, scale) -> None:
    assert accuracy(np.array(margin) * scale) == accuracy(margin)


def test_accuracy_on_a_mask_looks_at_marked_rows_only() -> None:
    assert accuracy([1.0, -1.0, 0.0], [False, True, True]) == 0.25


def test_bootstrap_of_two_groups_sees_their_three_means() -> None:
    # Draws of two groups: both 0 (1/4), one of each (1/2), both 1 (1/4): the ends are 0 and 1.
    groups = ["a"] * 3 + ["b"] * 3
    interval = bootstrap_interval([0.0] * 3 + [1.0] * 3, groups, seed=0)
    assert interval == Interval(mean=0.5, low=0.0, high=1.0)
    assert bootstrap_interval([0.0] * 3 + [1.0] * 3, groups, seed=0, level=0.4).low == 0.5


def test_groups_of_unequal_size_weigh_by_their_rows() -> None:
    # Group a has three rows of 0, b one row of 1. Means: 0, 1/4 (one of each), 1.
    interval = bootstrap_interval([0, 0, 0, 1], ["a", "a", "a", "b"], seed=1, level=0.4)
    assert interval == Interval(mean=0.25, low=0.25, high=0.25)


def test_interval_of_a_mean_has_the_normal_width() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    interval = bootstrap_interval(values, seed=0, resamples=4000)
    width = 2 * 1.96 * values.std() / math.sqrt(1000)
    assert interval.high - interval.low == pytest.approx(width, rel=0.05)
    assert interval.mean == pytest.approx(values.mean())


def test_95_percent_intervals_cover_the_truth_about_95_percent_of_the_time() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(300):
        group_mean = rng.normal(size=40)
        values = np.repeat(group_mean, 5) + rng.normal(size=200)
        interval = bootstrap_interval(values, np.repeat(np.arange(40), 5), seed=trial)
        covered += interval.low <= 0 <= interval.high
    # Binomial(300, 0.95) has a standard deviation of 0.013; small groups cost a point or two.
    assert 0.90 <= covered / 300 <= 0.985


def test_copies_of_a_row_in_its_group_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(2).normal(size=50)
    once = bootstrap_interval(values, np.arange(50), seed=3)
    copied = bootstrap_interval(np.repeat(values, 20), np.repeat(np.arange(50), 20), seed=3)
    assert [copied.low, copied.high] == pytest.approx([once.low, once.high])


def test_equal_seeds_give_equal_intervals_and_others_do_not() -> None:
    values = np.random.default_rng(3).normal(size=30)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_resampling_in_blocks_is_resampling_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=30)
    whole = bootstrap_interval(values, seed=1)
    monkeypatch.setattr("westofn.core.metrics._BLOCK", 97)
    assert bootstrap_interval(values, seed=1) == whole


def test_one_row_has_an_interval_of_no_width() -> None:
    assert bootstrap_interval([0.25], seed=0) == Interval(0.25, 0.25, 0.25)


def test_pairing_finds_a_difference_that_separate_intervals_hide() -> None:
    rng = np.random.default_rng(4)
    baseline = rng.normal(size=200) * 10
    values = baseline + 0.5 + rng.normal(size=200)
    difference = paired_bootstrap_difference(values, baseline, seed=0)
    assert difference.low > 0
    assert difference.mean == pytest.approx((values - baseline).mean())
    ours, theirs = bootstrap_interval(values, seed=0), bootstrap_interval(baseline, seed=0)
    assert ours.low < theirs.high


@given(MARGINS)
def test_correctness_agrees_with_accuracy(margin) -> None:
    assert set(correctness(margin).tolist()) <= {0.0, 0.5, 1.0}
    assert correctness(margin).mean() == accuracy(margin)


def test_calibration_looks_at_the_label_the_model_would_give() -> None:
    pairs = confidence_and_correctness([0.9, 0.2, 0.5])
    assert pairs.confidence.tolist() == [0.9, 0.8, 0.5]
    assert pairs.correct.tolist() == [1.0, 0.0, 0.5]


def test_reliability_curve_by_hand() -> None:
    p, outcome = [0.1, 0.3, 0.6, 0.8], [0.0, 1.0, 1.0, 1.0]
    low, high = reliability_curve(p, outcome, bins=2)
    assert low == ReliabilityBin(0.1, 0.3, pytest.approx(0.2), 0.5, 2)
    assert high == ReliabilityBin(0.6, 0.8, pytest.approx(0.7), 1.0, 2)
    # Half the rows are 0.3 off, the other half too.
    assert expected_calibration_error(p, outcome, bins=2) == pytest.approx(0.3)


def test_calibration_error_weighs_bins_by_their_rows() -> None:
    # Three rows at 0.2 of which none happened, one at 1 that did: 3/4 * 0.2 + 1/4 * 0.
    error = expected_calibration_error([0.2, 0.2, 0.2, 1.0], [0, 0, 0, 1], bins=2)
    assert error == pytest.approx(0.15)


def test_bins_are_of_equal_mass_where_nothing_ties() -> None:
    p = np.random.default_rng(0).permutation(1000) / 1000
    assert [part.pairs for part in reliability_curve(p, np.ones(1000), bins=10)] == [100] * 10


def test_a_calibrated_forecast_has_a_small_error_and_a_certain_one_a_large() -> None:
    rng = np.random.default_rng(5)
    p = rng.uniform(size=20_000)
    outcome = (rng.uniform(size=20_000) < p).astype(float)
    assert expected_calibration_error(p, outcome) < 0.02
    # Forced to 0 or 1, it claims 1 and is right with E[max(p, 1 - p)] = 3/4.
    certain = confidence_and_correctness((p > 0.5).astype(float))
    right = np.where(p > 0.5, outcome, 1 - outcome)
    assert expected_calibration_error(certain.confidence, right) == pytest.approx(0.25, abs=0.01)


@given(FORECASTS, st.integers(1, 12), st.randoms(use_true_random=False))
def test_reliability_curve_accounts_for_all_rows_in_any_order(rows, bins, random) -> None:
    curve = reliability_curve(*zip(*rows, strict=True), bins=bins)
    assert sum(part.pairs for part in curve) == len(rows)
    assert len(curve) <= bins
    for left, right in itertools.pairwise(curve):
        assert left.p_high < right.p_low
    for part in curve:
        assert part.p_low <= part.p_mean + 1e-12
        assert part.p_mean <= part.p_high + 1e-12
    shuffled = rows.copy()
    random.shuffle(shuffled)
    error = expected_calibration_error(*zip(*rows, strict=True), bins=bins)
    again = expected_calibration_error(*zip(*shuffled, strict=True), bins=bins)
    assert again == pytest.approx(error)


def test_tied_forecasts_fall_where_most_of_them_belong() -> None:
    # Two of the three rows tie on top; halves of 1.5 rows put the tie's middle in the upper one.
    assert [part.pairs for part in reliability_curve([0.25, 0.75, 0.75], [0, 1, 0], 2)] == [1, 2]
    assert [part.pairs for part in reliability_curve([0.25, 0.25, 0.75], [0, 1, 0], 2)] == [2, 1]


@given(FORECASTS)
def test_equal_forecasts_share_a_bin(rows) -> None:
    curve = reliability_curve([0.6] * len(rows), [outcome for _, outcome in rows])
    assert len(curve) == 1


def test_one_bin_compares_the_two_means() -> None:
    assert expected_calibration_error([0.2, 0.8], [1.0, 1.0], bins=1) == pytest.approx(0.5)


def test_brier_is_the_mean_squared_gap() -> None:
    # (0.25 + 0 + 1) / 3
    assert brier([0.5, 1.0, 0.0], [1.0, 1.0, 1.0]) == pytest.approx(1.25 / 3)


def test_length_diagnostics_by_hand() -> None:
    # Differences 2, -1, 0, 5; the longer judge is right twice and tied once.
    result = length_diagnostics([5, 3, 4, 9], [3, 4, 4, 4], [1.0, -1.0, 1.0, 0.0], bins=2)
    assert result.longest_accuracy == 0.625
    assert result.shortest_accuracy == 0.375
    assert result.accuracy_when_chosen_longer == 0.75
    assert result.accuracy_when_chosen_shorter == 0.0
    short, long = result.bins
    assert (short.length_difference_low, short.length_difference_high) == (-1.0, 0.0)
    assert (short.accuracy, short.pairs) == (0.5, 2)
    assert (long.length_difference_low, long.length_difference_high) == (2.0, 5.0)
    assert (long.accuracy, long.pairs) == (0.75, 2)
    # Margins less their mean 0.25: .75, -1.25, .75, -.25; differences less 1.5: .5, -2.5, -1.5, 3.5
    expected = (0.375 + 3.125 - 1.125 - 0.875) / math.sqrt(2.75 * 21.0)
    assert result.length_correlation == pytest.approx(expected)


@given(st.lists(st.tuples(*[st.integers(1, 50)] * 2, st.floats(-9, 9)), min_size=2, max_size=30))
def test_length_correlation_is_numpys(rows) -> None:
    chosen, rejected, margin = (np.array(column) for column in zip(*rows, strict=True))
    correlation = length_diagnostics(chosen, rejected, margin).length_correlation
    difference = chosen - rejected
    if np.ptp(difference) == 0 or np.ptp(margin) == 0:
        assert correlation is None
    elif margin.std() > 1e-9:
        assert correlation == pytest.approx(np.corrcoef(margin, difference)[0, 1], abs=1e-6)


def test_a_model_that_reads_off_length_correlates_fully() -> None:
    result = length_diagnostics([5, 2, 9], [1, 4, 4], [0.04, -0.02, 0.05])
    assert result.length_correlation == pytest.approx(1.0)
    assert result.longest_accuracy == accuracy([0.04, -0.02, 0.05])


@pytest.mark.parametrize("margin", [[1.0], [1.0, 1.0]])
def test_what_is_not_defined_is_none(margin) -> None:
    result = length_diagnostics([3] * len(margin), [3] * len(margin), margin)
    assert result.length_correlation is None
    assert result.accuracy_when_chosen_longer is None
    assert result.accuracy_when_chosen_shorter is None
    assert result.longest_accuracy == result.shortest_accuracy == 0.5


def test_a_tiny_spread_of_margins_still_correlates() -> None:
    margin = np.array([1e-200, -1e-200, 3e-200])
    result = length_diagnostics([1, 0, 2], [0, 1, -1], margin)
    assert result.length_correlation == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: accuracy([]), "margin has shape"),
        (lambda: accuracy([[1.0]]), "needs \\(rows,\\)"),
        (lambda: accuracy([np.nan]), "margin has 1 values that are NaN or infinite"),
        (lambda: accuracy([1.0], [False]), "with 0 rows marked, needs bool"),
        (lambda: accuracy([1.0, 2.0], [1, 0]), "mask is int64"),
        (lambda: accuracy([1.0], [True, True]), "mask is bool \\(2,\\)"),
        (lambda: bootstrap_interval([], seed=0), "values has shape"),
        (lambda: bootstrap_interval([1.0], ["a", "b"], seed=0), "groups have shape"),
        (lambda: bootstrap_interval([1.0], seed=0, resamples=0), "resamples is 0"),
        (lambda: bootstrap_interval([1.0], seed=0, level=1.0), "level 1.0"),
        (lambda: paired_bootstrap_difference([1.0], [1.0, 2.0], seed=0), "shapes differ"),
        (lambda: confidence_and_correctness([1.5]), "needs probabilities"),
        (lambda: reliability_curve([0.5], [2.0]), "outcome ranges"),
        (lambda: reliability_curve([0.5], [1.0], bins=0), "bins is 0"),
        (lambda: expected_calibration_error([], []), "p has shape"),
        (lambda: brier([0.5], [1.0, 1.0]), "shapes differ"),
        (lambda: length_diagnostics([], [], []), "len_chosen has shape"),
        (lambda: length_diagnostics([1], [1, 2], [1.0]), "shapes differ"),
    ],
)
def test_unfit_inputs_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
