from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.agreement import agreement_with_exact, cyclic_triads
from westofn.core.selection import BestWorst, exact_best_worst
from westofn.core.tournament import tournament_best_worst


@st.composite
def skew_margins(draw, smallest: int = 0, fewest: int = 3) -> torch.Tensor:
    """Skew-symmetric margins (P, N, N); of magnitude `smallest` and more, so that 0 allows ties."""
    prompts, n = draw(st.integers(1, 3)), draw(st.integers(fewest, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 100_000)))
    size = torch.randint(smallest, 3, (prompts, n, n), generator=generator)
    sign = 2 * torch.randint(0, 2, (prompts, n, n), generator=generator) - 1
    upper = (size * sign).triu(1).float()
    return upper - upper.transpose(1, 2)


def pair(best: list[int], worst: list[int]) -> BestWorst:
    return BestWorst(torch.tensor(best), torch.tensor(worst), torch.zeros(len(best)))


def brute_force(square: list[list[float]]) -> int:
    """Triples in which each beats the next, either way around."""

    def beats(i: int, j: int) -> bool:
        return square[i][j] > square[j][i]

    return sum(
        (beats(i, j) and beats(j, k) and beats(k, i))
        or (beats(j, i) and beats(k, j) and beats(i, k))
        for i, j, k in itertools.combinations(range(len(square)), 3)
    )


@given(skew_margins())
def test_cycles_are_those_of_brute_force_with_ties(pool) -> None:
    found = cyclic_triads(pool)
    assert found.count.tolist() == [brute_force(square) for square in pool.tolist()]
    n = pool.shape[1]
    assert found.triples == n * (n - 1) * (n - 2) // 6
    assert found.share.tolist() == [count / found.triples for count in found.count.tolist()]


@given(skew_margins(smallest=1))
def test_without_ties_cycles_follow_from_the_numbers_of_wins(pool) -> None:
    wins = (pool > 0).sum(2)
    expected = [math.comb(pool.shape[1], 3) - sum(math.comb(s, 2) for s in row) for row in wins]
    assert cyclic_triads(pool).count.tolist() == expected


@pytest.mark.parametrize("n", [3, 5, 7, 31])
def test_a_regular_tournament_has_the_most_cycles_there_can_be(n: int) -> None:
    # Each beats the (n - 1) / 2 that follow around a circle: (n^3 - n) / 24 (Kendall 1940).
    ahead = (torch.arange(n).unsqueeze(0) - torch.arange(n).unsqueeze(1)) % n
    pool = torch.where(ahead == 0, 0.0, torch.where(ahead <= n // 2, 1.0, -1.0)).unsqueeze(0)
    assert cyclic_triads(pool).count.item() == (n**3 - n) // 24


def test_rewards_have_no_cycles_and_neither_have_ties() -> None:
    rewards = torch.tensor([[3.0, 1.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    pool = rewards.unsqueeze(2) - rewards.unsqueeze(1)
    assert cyclic_triads(pool).count.tolist() == [0, 0]
    assert cyclic_triads(pool).share.tolist() == [0.0, 0.0]


def test_who_wins_is_the_larger_of_two_margins_when_both_are_doubtful() -> None:
    # A cycle of 1 against -1, shifted by -5: both orders of every pair are below zero.
    cycle = torch.tensor([[[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]]])
    assert cyclic_triads(cycle - 5.0).count.tolist() == [1]


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (torch.zeros(1, 2, 2), r"needs \(prompts, N, N\) with N >= 3"),
        (torch.zeros(3, 3), "N >= 3"),
        (torch.zeros(1, 3, 4), "N >= 3"),
        (torch.stack([torch.zeros(3, 3), torch.full((3, 3), torch.nan)]), "prompt 1 are NaN"),
    ],
)
def test_unfit_margins_have_no_triads(pool, message) -> None:
    with pytest.raises(ValueError, match=message):
        cyclic_triads(pool)


@given(skew_margins(fewest=2))
def test_the_exact_pair_agrees_with_itself_and_regrets_nothing(pool) -> None:
    rates = agreement_with_exact(pool, exact_best_worst(pool)).rates()
    assert (rates.best, rates.worst, rates.pair, rates.optimal) == (1, 1, 1, 1)
    assert (rates.regret_margin, rates.regret_probability) == (0, 0)
    assert rates.prompts == len(pool)


@given(skew_margins(fewest=2))
def test_a_tournament_never_beats_the_exact_pair(pool) -> None:
    prompts, n, _ = pool.shape
    found = tournament_best_worst(lambda p, a, b: pool[p, a, b], prompts, n)
    result = agreement_with_exact(pool, found)
    assert (result.regret_margin >= 0).all()
    assert torch.equal(result.optimal, result.regret_margin == 0)
    assert (result.pair <= result.optimal).all()
    assert torch.equal(result.pair, result.best & result.worst)
    assert ((result.regret_probability >= 0) & (result.regret_probability <= 1)).all()


def test_a_tournament_over_rewards_finds_the_exact_pair() -> None:
    rewards = torch.rand(40, 11, generator=torch.Generator().manual_seed(0)).argsort(1).float()
    pool = rewards.unsqueeze(2) - rewards.unsqueeze(1)
    found = tournament_best_worst(lambda p, a, b: pool[p, a, b], 40, 11)
    assert agreement_with_exact(pool, found).rates().pair == 1


def test_rates_and_regrets_by_hand() -> None:
    # Rewards 3, 2, 0 in every pool: the pair is (0, 2) with margin 3.
    rewards = torch.tensor([3.0, 2.0, 0.0])
    pool = (rewards.unsqueeze(1) - rewards).expand(4, -1, -1)
    found = agreement_with_exact(pool, pair([0, 0, 1, 1], [2, 1, 2, 0]))
    assert found.best.tolist() == [True, True, False, False]
    assert found.worst.tolist() == [True, False, True, False]
    assert found.pair.tolist() == [True, False, False, False]
    assert found.regret_margin.tolist() == [0.0, 2.0, 1.0, 4.0]  # margins 3, 1, 2, -1
    # sigmoid of 3, 1, 2, -1: 0.952574, 0.731059, 0.880797, 0.268941.
    expected = [0.0, 0.221516, 0.071777, 0.683633]
    assert found.regret_probability.tolist() == pytest.approx(expected, abs=2e-6)
    rates = found.rates()
    assert (rates.best, rates.worst, rates.pair, rates.optimal) == (0.5, 0.5, 0.25, 0.25)
    assert rates.regret_margin == 1.75


def test_a_tie_with_the_exact_pair_is_optimal_and_not_equal() -> None:
    rewards = torch.tensor([1.0, 1.0, 0.0])  # equal responses
    pool = (rewards.unsqueeze(1) - rewards).unsqueeze(0)
    rates = agreement_with_exact(pool, pair([1], [2])).rates()
    assert (rates.pair, rates.optimal, rates.regret_margin) == (0, 1, 0)


def test_sure_pairs_differ_in_probability_beyond_float32() -> None:
    pool = (torch.tensor([40.0, 20.0, 0.0]).unsqueeze(1) - torch.tensor([40.0, 20.0, 0.0]))[None]
    found = agreement_with_exact(pool, pair([1], [2]))
    assert found.regret_probability.item() == pytest.approx(math.exp(-20), rel=1e-6)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (pair([0, 1], [1, 0]), r"best has shape \(2,\), needs \(1,\)"),
        (pair([3], [0]), "best ranges from 3 to 3, needs indices of 3 candidates"),
        (pair([0], [-1]), "worst ranges from -1 to -1"),
        (pair([1], [1]), "the pair of prompt 0 is one candidate twice"),
    ],
)
def test_pairs_that_are_none_are_refused(found, message) -> None:
    with pytest.raises(ValueError, match=message):
        agreement_with_exact(torch.zeros(1, 3, 3), found)


def test_no_prompts_have_no_rates() -> None:
    empty = agreement_with_exact(torch.zeros(0, 3, 3), exact_best_worst(torch.zeros(0, 3, 3)))
    with pytest.raises(ValueError, match="agreement of 0 prompts"):
        empty.rates()
