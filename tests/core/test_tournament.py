from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.tournament import (
    TournamentResult,
    elimination_comparisons,
    tournament_best_worst,
)

SIZES = [2, 3, 4, 5, 6, 7, 8, 9, 11, 16, 31, 33, 64]


def play(square: torch.Tensor, uniforms: torch.Tensor | None = None) -> TournamentResult:
    """A tournament over known margins (P, N, N)."""
    prompts, n, _ = square.shape
    return tournament_best_worst(lambda p, a, b: square[p, a, b], prompts, n, uniforms)


@st.composite
def skew_margins(draw) -> torch.Tensor:
    """Skew-symmetric margins (P, N, N) of few distinct values: many ties, many cycles."""
    prompts, n, span = draw(st.integers(1, 4)), draw(st.integers(2, 13)), draw(st.integers(0, 2))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    drawn = torch.randint(-span, span + 1, (prompts, n, n), generator=generator)
    upper = drawn.triu(1).float()
    return upper - upper.transpose(1, 2)


def shuffled_rewards(prompts: int, n: int) -> torch.Tensor:
    """(P, N), each row a permutation of 0 .. N-1."""
    return torch.rand(prompts, n, generator=torch.Generator().manual_seed(n)).argsort(1).float()


@pytest.mark.parametrize("n", SIZES)
def test_comparisons_are_three_halves_n_less_two_and_one_for_the_probability(n: int) -> None:
    asked = []
    rewards = shuffled_rewards(3, n)

    def compare(prompt: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        asked.extend(prompt.tolist())
        return rewards[prompt, a] - rewards[prompt, b]

    result = tournament_best_worst(compare, 3, n)
    assert elimination_comparisons(n) == math.ceil(3 * n / 2) - 2
    assert result.comparisons_per_prompt == elimination_comparisons(n) + 1
    assert [asked.count(prompt) for prompt in range(3)] == [result.comparisons_per_prompt] * 3


@pytest.mark.parametrize(("n", "calls"), [(2, 2), (4, 3), (64, 7), (3, 3), (65, 8)])
def test_a_round_is_one_call_for_all_prompts(n: int, calls: int) -> None:
    # First round, log2(N/2) halvings, the probability; an odd N adds the seating of the odd one.
    asked = []

    def compare(prompt: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        asked.append((prompt, a, b))
        return (a - b).float()

    tournament_best_worst(compare, 5, n)
    assert len(asked) == calls
    assert len(asked[0][0]) == 5 * (n // 2)
    assert all(torch.equal(prompt, prompt.sort().values) for prompt, _, _ in asked)
    assert all((a < b).all() for _, a, b in asked[:-1])
    # The last call: the highest index has the largest margins.
    assert [rows.tolist() for rows in asked[-1]] == [[0, 1, 2, 3, 4], [n - 1] * 5, [0] * 5]


@pytest.mark.parametrize("n", SIZES)
def test_a_transitive_comparator_gives_highest_and_lowest_reward(n: int) -> None:
    rewards = shuffled_rewards(50, n)
    result = play(rewards.unsqueeze(2) - rewards.unsqueeze(1))
    assert torch.equal(result.best, rewards.argmax(1))
    assert torch.equal(result.worst, rewards.argmin(1))
    torch.testing.assert_close(result.p_best, torch.full((50,), 1 / (1 + math.exp(1 - n))))


@given(skew_margins(), st.integers(0, 1000))
def test_best_and_worst_differ_under_cycles_and_ties(square, seed) -> None:
    uniforms = torch.rand(square.shape[:2], generator=torch.Generator().manual_seed(seed))
    for result in (play(square), play(square, uniforms)):
        rows = torch.arange(len(square))
        assert (result.best != result.worst).all()
        expected = torch.sigmoid(square[rows, result.best, result.worst])
        torch.testing.assert_close(result.p_best, expected)


@pytest.mark.parametrize("signs", range(8))
def test_three_candidates_never_end_as_one(signs: int) -> None:
    # All 8 outcomes of the three matches among 3 candidates, both cycles included.
    one, two, three = (1.0 if signs >> bit & 1 else -1.0 for bit in range(3))
    square = torch.tensor([[[0.0, one, two], [-one, 0.0, three], [-two, -three, 0.0]]])
    result = play(square)
    assert result.best.item() != result.worst.item()
    assert result.p_best.item() > 0.5


@given(skew_margins(), st.data())
def test_who_beats_all_is_best_and_who_loses_to_all_is_worst(square, data) -> None:
    n = square.shape[1]
    best, worst = data.draw(st.permutations(range(n)))[:2]
    square[:, worst, :], square[:, :, worst] = -5, 5
    square[:, best, :], square[:, :, best] = 5, -5
    result = play(square)
    assert (result.best == best).all()
    assert (result.worst == worst).all()


@pytest.mark.parametrize("n", SIZES)
def test_ties_go_to_the_lower_index_whatever_the_bracket(n: int) -> None:
    uniforms = torch.rand(4, n, generator=torch.Generator().manual_seed(0))
    result = play(torch.zeros(4, n, n), uniforms)
    assert result.best.tolist() == [0] * 4
    assert result.worst.tolist() == [n - 1] * 4
    assert result.p_best.tolist() == [0.5] * 4


@given(skew_margins())
def test_a_prompts_pair_does_not_depend_on_the_other_prompts(square) -> None:
    together = play(square)
    for row in range(len(square)):
        alone = play(square[row : row + 1])
        assert alone.best.item() == together.best[row]
        assert alone.worst.item() == together.worst[row]


def test_the_bracket_matters_under_a_cycle() -> None:
    # 0 beats 1, 1 beats 2, 2 beats 0, and 3 loses to all: the best is who avoids its nemesis.
    square = torch.zeros(1, 4, 4)
    for winner, loser in [(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)]:
        square[0, winner, loser], square[0, loser, winner] = 1.0, -1.0
    # Index order: 0 beats 1, 2 beats 3, then 2 beats 0.
    assert play(square).best.item() == 2
    # Bracket 0-2, 1-3: 2 beats 0, 1 beats 3, then 1 beats 2.
    assert play(square, torch.tensor([[0.1, 0.3, 0.2, 0.4]])).best.item() == 1
    assert play(square, torch.tensor([[0.1, 0.3, 0.2, 0.4]])).worst.item() == 3


@pytest.mark.parametrize(
    ("prompts", "n", "uniforms", "message"),
    [
        (1, 1, None, "1 prompts of 1 candidates, needs at least 1 prompt and 2 candidates"),
        (0, 4, None, "0 prompts of 4 candidates"),
        (2, 4, torch.zeros(2, 3), r"bracket_uniforms: \(2, 3\), needs \(2, 4\)"),
    ],
)
def test_unfit_tournaments_are_refused(prompts, n, uniforms, message) -> None:
    with pytest.raises(ValueError, match=message):
        tournament_best_worst(lambda p, a, b: (a - b).float(), prompts, n, uniforms)


def test_a_comparator_that_returns_nan_is_refused_with_the_prompt() -> None:
    def compare(prompt: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.where(prompt == 2, torch.nan, 1.0)

    with pytest.raises(ValueError, match="compare returned NaN for prompt 2"):
        tournament_best_worst(compare, 3, 2)


def test_a_comparator_that_returns_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 1\), needs \(2,\)"):
        tournament_best_worst(lambda p, a, b: torch.zeros(len(p), 1), 2, 2)


def test_elimination_of_one_candidate_is_refused() -> None:
    with pytest.raises(ValueError, match="n_candidates is 1, needs at least 2"):
        elimination_comparisons(1)
