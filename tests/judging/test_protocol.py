"""Verdicts: symmetric by construction, whatever the judge's position bias."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from westofn.judging.protocol import FloatArray, Verdicts, judge_pairs, position_flip_rate

NAN = float("nan")
PROBABILITIES = st.floats(0, 1)


@dataclass(frozen=True)
class Planted:
    """Says sigmoid(worth of first − worth of second + bias); a response is its worth."""

    bias: float = 0.0
    name: str = "planted"

    def p_first(
        self,
        prompt_ids: Sequence[str],
        prompts: Sequence[str],
        first: Sequence[str],
        second: Sequence[str],
    ) -> FloatArray:
        margins = np.array([float(a) - float(b) for a, b in zip(first, second, strict=True)])
        return 1 / (1 + np.exp(-(margins + self.bias)))


@dataclass(frozen=True)
class Table:
    """Says what a table of (first, second) says."""

    said: dict[tuple[str, str], float]
    name: str = "table"

    def p_first(
        self,
        prompt_ids: Sequence[str],
        prompts: Sequence[str],
        first: Sequence[str],
        second: Sequence[str],
    ) -> FloatArray:
        return np.array([self.said[pair] for pair in zip(first, second, strict=True)])


def verdict(forward: float, backward_said: float) -> Verdicts:
    """Of one pair (a, b): P(a) when a is shown first, and P(b) when b is."""
    judge = Table({("a", "b"): forward, ("b", "a"): backward_said})
    return judge_pairs(judge, ["p"], ["x"], ["a"], ["b"])


def mean_of(verdicts: Verdicts) -> FloatArray:
    return (verdicts.p_forward + verdicts.p_backward) / 2


def flips(verdicts: Verdicts) -> float:
    return position_flip_rate(verdicts.p_forward, verdicts.p_backward)


@given(PROBABILITIES, PROBABILITIES)
def test_exchanging_the_responses_gives_exactly_one_minus(one: float, other: float) -> None:
    judge = Table({("a", "b"): one, ("b", "a"): other})
    there = mean_of(judge_pairs(judge, ["p"], ["x"], ["a"], ["b"]))
    back = mean_of(judge_pairs(judge, ["p"], ["x"], ["b"], ["a"]))
    assert there[0] + back[0] == 1.0
    assert there[0] == pytest.approx((one + 1 - other) / 2, abs=1e-7)


@given(arrays(np.float64, 20, elements=PROBABILITIES))
def test_float32_gives_the_verdict_back_bit_by_bit(said: FloatArray) -> None:
    judge = Table(
        {(f"a{i}", "b"): p for i, p in enumerate(said)}
        | {("b", f"a{i}"): p for i, p in enumerate(said)}
    )
    names = [f"a{i}" for i in range(20)]
    verdicts = judge_pairs(judge, ["p"] * 20, ["x"] * 20, names, ["b"] * 20)
    for column in (verdicts.p_forward, verdicts.p_backward):
        assert np.array_equal(column, column.astype(np.float32).astype(np.float64))


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-4, 4))
def test_a_planted_position_bias_does_not_change_the_winner(
    a: float, b: float, bias: float
) -> None:
    verdicts = judge_pairs(Planted(bias), ["p"], ["x"], [str(a)], [str(b)])
    if abs(a - b) > 1e-3:
        assert (mean_of(verdicts)[0] > 0.5) == (a > b)


def test_a_position_bias_flips_the_pairs_whose_margin_is_smaller() -> None:
    # Margins 0.5, −0.5, 2, −2 against a bias of 1: the first two change with the order.
    first, second = ["0.5", "0", "2", "0"], ["0", "0.5", "0", "2"]
    columns = (["p"] * 4, ["x"] * 4, first, second)
    assert flips(judge_pairs(Planted(1.0), *columns)) == 0.5
    assert flips(judge_pairs(Planted(0.0), *columns)) == 0.0


@pytest.mark.parametrize(
    ("forward", "backward_said", "rate"),
    [(0.9, 0.1, 0.0), (0.9, 0.8, 1.0), (0.2, 0.3, 1.0), (0.5, 0.2, 0.5), (0.5, 0.5, 0.5)],
)
def test_a_flip_is_another_winner_and_a_tie_is_half(
    forward: float, backward_said: float, rate: float
) -> None:
    assert flips(verdict(forward, backward_said)) == rate


def test_both_probabilities_are_of_the_first_response() -> None:
    verdicts = verdict(0.75, 0.5)
    assert (verdicts.p_forward[0], verdicts.p_backward[0]) == (0.75, 0.5)
    verdicts = verdict(0.75, 0.125)
    assert (verdicts.p_backward[0], mean_of(verdicts)[0]) == (0.875, 0.8125)


def test_no_answer_is_counted_and_is_a_tie() -> None:
    verdicts = verdict(NAN, 0.25)
    assert (verdicts.p_forward[0], mean_of(verdicts)[0]) == (0.5, 0.625)
    assert verdicts.unanswered.tolist() == [1]
    assert verdict(NAN, NAN).unanswered.tolist() == [2]
    assert mean_of(verdict(NAN, NAN)).tolist() == [0.5]


def test_no_pairs_have_no_rates() -> None:
    verdicts = judge_pairs(Planted(), [], [], [], [])
    assert verdicts.p_forward.shape == (0,)
    assert math.isnan(flips(verdicts))


def test_numbers_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match="judge table gave numbers"):
        verdict(1.5, 0.5)
    with pytest.raises(ValueError, match=r"columns of \[1, 2\] rows"):
        judge_pairs(Planted(), ["p", "q"], ["x", "y"], ["1", "2"], ["1"])
