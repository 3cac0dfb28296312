"""The health of a later round's pools: every number derived by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.rounds import PoolHealth, agreement, distinct_share, faults, spread_ratio

WELL = PoolHealth(agreement=0.8, spread=1.0, distinct=0.9, length=1.0)
LIMITS = PoolHealth(agreement=0.6, spread=0.25, distinct=0.1, length=2.0)
OFF = PoolHealth(0.0, 0.0, 0.0, 0.0)


def test_models_that_agree_agree_wholly_and_opposites_never() -> None:
    margins = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    assert agreement(margins, 7 * margins) == 1.0
    assert agreement(margins, -margins) == 0.0


def test_a_pair_that_one_model_cannot_tell_counts_half_and_equal_responses_do_not_count() -> None:
    first = torch.tensor([1.0, -1.0, 2.0, 0.0])
    second = torch.tensor([0.0, -1.0, -2.0, 0.0])
    assert agreement(first, second) == pytest.approx((0.5 + 1 + 0) / 3)


def test_without_a_pair_to_tell_apart_agreement_is_chance() -> None:
    assert agreement(torch.zeros(5), torch.zeros(5)) == 0.5


@given(st.floats(0.01, 100))
def test_the_spread_is_relative_to_the_first_pools(factor: float) -> None:
    margins = torch.tensor([3.0, -4.0, 0.0])
    assert spread_ratio(factor * margins, margins) == pytest.approx(factor, rel=1e-5)


def test_a_model_that_saw_no_difference_at_first_has_no_spread_to_lose() -> None:
    assert spread_ratio(torch.ones(3), torch.zeros(3)) == 1.0


def test_the_distinct_share_is_a_mean_over_pools() -> None:
    # 3 of 4 and 1 of 4.
    assert distinct_share([["a", "b", "c", "a"], ["d"] * 4]) == 0.5


def test_healthy_pools_have_no_fault() -> None:
    assert faults(WELL, LIMITS) == []
    at_the_limits = PoolHealth(agreement=0.6, spread=0.25, distinct=0.1, length=2.0)
    assert faults(at_the_limits, LIMITS) == []


@pytest.mark.parametrize(
    ("name", "value", "needs"),
    [
        ("agreement", 0.512, "0.512, needs at least 0.6"),
        ("spread", 0.2, "0.200, needs at least 0.25"),
        ("distinct", 0.05, "0.050, needs at least 0.1"),
        ("length", 2.5, "2.500, needs 0.5 to 2"),
        ("length", 0.4, "0.400, needs 0.5 to 2"),
    ],
)
def test_a_fault_names_the_measure_its_value_and_its_limit(
    name: str, value: float, needs: str
) -> None:
    (clause,) = faults(replace(WELL, **{name: value}), LIMITS)
    assert clause.startswith(name)
    assert f"is {needs}" in clause
    assert f"(won_select.stop.{name})" in clause


def test_a_limit_of_zero_asks_for_nothing() -> None:
    ruined = PoolHealth(agreement=0.0, spread=0.0, distinct=0.0, length=50.0)
    assert len(faults(ruined, LIMITS)) == 4
    assert faults(ruined, OFF) == []
