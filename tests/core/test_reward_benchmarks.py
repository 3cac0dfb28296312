"""The rules of benchmarks, with results derived by hand."""

from __future__ import annotations

import math

import pytest

from westofn.core.intervals import share_interval
from westofn.core.reward_benchmarks import (
    TiesRow,
    best_result,
    style_results,
    ties_scores,
)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([3.0, 2.0, 1.0, 0.0], 1.0),
        ([2.0, 3.0, 1.0, 0.0], 0.0),
        ([3.0, 3.0, 1.0, 3.0], 1 / 3),
        ([0.0, 0.0, 0.0, 0.0], 0.25),
        ([1.0, 2.0, 2.0, 0.0], 0.0),
    ],
)
def test_responses_that_tie_for_the_highest_score_share_the_choice(
    scores: list[float], expected: float
) -> None:
    assert best_result(scores, [1.0, 0.0, 0.0, 0.0]) == pytest.approx(expected)


def test_best_needs_one_grade_for_each_score() -> None:
    with pytest.raises(ValueError, match="2 scores and 1 grades, needs equal numbers"):
        best_result([1.0, 2.0], [1.0])


def test_hard_is_a_rejected_response_of_more_elaborate_style() -> None:
    # Rejected style 2 beats all chosen ones, everything else loses: hard loses (0, 2) and (1, 2).
    styles = style_results([[1, 1, -1], [1, 1, -1], [1, 1, -1]])
    assert (styles.hard, styles.normal, styles.easy) == pytest.approx((1 / 3, 2 / 3, 1.0))


def test_equal_scores_win_no_comparison_of_styles() -> None:
    styles = style_results([[0.0] * 3] * 3)
    assert (styles.hard, styles.normal, styles.easy) == (0.0, 0.0, 0.0)


def test_styles_need_a_square_of_three() -> None:
    with pytest.raises(ValueError, match="needs 3 x 3"):
        style_results([[1.0, 2.0]])


def test_ties_add_their_five_terms() -> None:
    # Prompt 1: gaps 4 and 3, spread 2: all terms, tanh(3 / 2 - 1).
    # Prompt 2: gaps 1 and 3, spread 2: preferred, but not in the hard way, tanh(1 / 2 - 1).
    ref = {"1": TiesRow([5.0], [1.0, 0.0]), "2": TiesRow([2.0], [1.0])}
    tied = {"1": TiesRow([5.0, 7.0], [2.0]), "2": TiesRow([5.0, 7.0], [2.0, -1.0])}
    measured = ties_scores(ref, tied)
    margin = (math.tanh(0.5) + math.tanh(-0.5)) / 2
    assert (measured.ref, measured.tied, measured.preferred) == (1.0, 1.0, 1.0)
    assert measured.preferred_hard == 0.5
    assert measured.margin == pytest.approx(margin)
    assert measured.score == pytest.approx(0.3 + 0.3 + 0.2 + 0.1 + 0.01 * margin)


def test_a_gap_of_zero_is_not_won_and_a_spread_of_zero_has_no_ratio() -> None:
    measured = ties_scores({"1": TiesRow([1.0], [1.0])}, {"1": TiesRow([2.0, 2.0], [1.0])})
    assert measured.ref == 0.0
    assert (measured.tied, measured.preferred) == (1.0, 1.0)
    assert measured.preferred_hard == 0.0  # the smaller gap, 0, does not exceed the spread, 0
    assert measured.margin == 0.0
    assert measured.score == pytest.approx(0.3 + 0.2)


def test_prompts_without_their_other_row_count_in_one_term() -> None:
    measured = ties_scores({"1": TiesRow([1.0], [0.0])}, {"2": TiesRow([2.0, 3.0], [4.0])})
    assert measured.score == pytest.approx(0.3)


def test_wilson_of_half_of_four_rows() -> None:
    # z² = 3.8415: centre 1/2, half z / (1 + z²/4) sqrt(1/16 + z²/64)
    z2 = 1.959963985**2
    half = math.sqrt(z2) / (1 + z2 / 4) * math.sqrt(1 / 16 + z2 / 64)
    assert share_interval(0.5, 4) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-8)


@pytest.mark.parametrize(("share", "rows"), [(1.1, 4), (-0.1, 4), (0.5, 0), (math.nan, 4)])
def test_an_interval_needs_a_share_of_rows(share: float, rows: float) -> None:
    with pytest.raises(ValueError, match="needs"):
        share_interval(share, rows)
