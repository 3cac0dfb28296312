from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.comparators import margins
from westofn.core.selection import (
    SELECTORS,
    default_sizes,
    exact_best_worst,
    nested_best_worst,
    select_pairs,
)


def bradley_terry(*rewards: float) -> torch.Tensor:
    """Margins (1, N, N) of one pool with these rewards."""
    return margins(torch.tensor(rewards).unsqueeze(-1)).unsqueeze(0)


@st.composite
def skew_margins(draw, max_candidates: int = 6) -> torch.Tensor:
    """Skew-symmetric margins (P, N, N) of few distinct values: many ties, many cycles."""
    prompts, n = draw(st.integers(1, 3)), draw(st.integers(2, max_candidates))
    flat = draw(st.lists(st.integers(-2, 2), min_size=prompts * n * n, max_size=prompts * n * n))
    upper = torch.tensor(flat, dtype=torch.float32).view(prompts, n, n).triu(1)
    return upper - upper.transpose(1, 2)


@st.composite
def any_margins(draw) -> torch.Tensor:
    """Margins (P, N, N) without any symmetry, as pessimism over an ensemble makes them."""
    prompts, n = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    flat = draw(st.lists(st.integers(-3, 3), min_size=prompts * n * n, max_size=prompts * n * n))
    return torch.tensor(flat, dtype=torch.float32).view(prompts, n, n)


def brute_force(square: list[list[float]]) -> tuple[int, int]:
    """The first, in the order (0, 1), (0, 2), ..., of the ordered pairs of largest margin."""
    pairs = itertools.permutations(range(len(square)), 2)
    return max(pairs, key=lambda pair: (square[pair[0]][pair[1]], -pair[0], -pair[1]))


@given(any_margins())
def test_exact_pair_is_the_first_argmax_over_ordered_pairs(pool) -> None:
    result = exact_best_worst(pool)
    expected = [brute_force(square) for square in pool.tolist()]
    assert list(zip(result.best.tolist(), result.worst.tolist(), strict=True)) == expected


@given(skew_margins())
def test_best_and_worst_differ_and_the_model_prefers_the_best(pool) -> None:
    result = exact_best_worst(pool)
    assert (result.best != result.worst).all()
    assert (result.p_best >= 0.5).all()


@given(skew_margins(), st.randoms(use_true_random=False))
def test_p_best_does_not_depend_on_the_order_of_candidates(pool, random) -> None:
    order = list(range(pool.shape[-1]))
    random.shuffle(order)
    shuffled = exact_best_worst(pool[:, order][:, :, order])
    assert torch.equal(shuffled.p_best, exact_best_worst(pool).p_best)


# Multiples of 1/64: float32 holds their differences exactly, so that no two of them tie.
@given(st.lists(st.integers(-320, 320), min_size=2, max_size=8, unique=True))
def test_bradley_terry_gives_highest_and_lowest_reward(multiples) -> None:
    rewards = [multiple / 64 for multiple in multiples]
    result = exact_best_worst(bradley_terry(*rewards))
    assert result.best.item() == rewards.index(max(rewards))
    assert result.worst.item() == rewards.index(min(rewards))


@pytest.mark.parametrize("n", [2, 3, 64])
def test_a_pool_of_equals_gives_its_first_two_candidates_at_one_half(n: int) -> None:
    result = exact_best_worst(torch.zeros(2, n, n))
    assert result.best.tolist() == [0, 0]
    assert result.worst.tolist() == [1, 1]
    assert result.p_best.tolist() == [0.5, 0.5]


def test_margins_beyond_the_sigmoids_resolution_are_told_apart() -> None:
    pool = bradley_terry(30.0, 40.0, 0.0)  # sigmoid(30) and sigmoid(40) are both 1 in float32
    assert torch.sigmoid(pool[0, 0, 2]) == torch.sigmoid(pool[0, 1, 2])
    assert exact_best_worst(pool).best.item() == 1


def test_in_a_cycle_the_surest_pair_wins() -> None:
    # 0 beats 1 by 1, 1 beats 2 by 2, 2 beats 0 by 3.
    pool = torch.tensor([[[0.0, 1.0, -3.0], [-1.0, 0.0, 2.0], [3.0, -2.0, 0.0]]])
    result = exact_best_worst(pool)
    assert (result.best.item(), result.worst.item()) == (2, 0)
    assert result.p_best.item() == pytest.approx(0.952574, abs=1e-6)  # 1 / (1 + e^-3)


def test_no_prompts_give_no_pairs() -> None:
    assert exact_best_worst(torch.zeros(0, 3, 3)).best.shape == (0,)


@given(skew_margins())
def test_nested_pairs_are_the_exact_pairs_of_the_prefixes(pool) -> None:
    sizes = default_sizes(pool.shape[-1])
    nested = nested_best_worst(pool, sizes)
    assert tuple(nested) == sizes
    for size, pair in nested.items():
        alone = exact_best_worst(pool[:, :size, :size].clone())
        assert torch.equal(pair.best, alone.best)
        assert torch.equal(pair.worst, alone.worst)


@given(skew_margins())
def test_confidence_never_falls_as_the_pool_grows(pool) -> None:
    nested = nested_best_worst(pool, range(2, pool.shape[-1] + 1))
    curve = torch.stack([pair.p_best for pair in nested.values()])
    assert (curve.diff(dim=0) >= 0).all()


@pytest.mark.parametrize(
    ("n", "sizes"),
    [(2, (2,)), (3, (2, 3)), (4, (2, 4)), (48, (2, 4, 8, 16, 32, 48)), (64, (2, 4, 8, 16, 32, 64))],
)
def test_default_sizes_are_the_powers_of_two_and_n(n: int, sizes: tuple[int, ...]) -> None:
    assert default_sizes(n) == sizes


@given(skew_margins(), st.sampled_from(SELECTORS), st.data())
def test_every_selector_gives_two_candidates_and_the_models_probability(pool, name, data) -> None:
    unit = st.floats(0, 1, exclude_max=True, width=32)
    drawn = data.draw(st.lists(unit, min_size=2 * len(pool), max_size=2 * len(pool)))
    result = select_pairs(pool, name, torch.tensor(drawn).view(-1, 2))
    rows = torch.arange(len(pool))
    assert (result.best != result.worst).all()
    assert (result.best >= 0).all()
    assert (result.best < pool.shape[-1]).all()
    assert (result.worst >= 0).all()
    assert (result.worst < pool.shape[-1]).all()
    assert torch.equal(result.p_best, torch.sigmoid(pool[rows, result.best, result.worst]))
    if name in ("west", "random_pair"):
        assert (result.p_best >= 0.5).all()
    if name != "random_pair":
        assert torch.equal(result.best, exact_best_worst(pool).best)


@pytest.mark.parametrize("n", [2, 3, 63, 64, 65, 100, 999, 1000, 4095, 4097])
@pytest.mark.parametrize(("digits", "dtype"), [(24, torch.float32), (53, torch.float64)])
def test_the_largest_uniform_stays_in_a_pool_of_any_size(n, digits, dtype) -> None:
    largest = torch.tensor([[1 - 2.0**-digits] * 2], dtype=dtype)
    result = select_pairs(torch.zeros(1, 1, 1).expand(1, n, n), "random_pair", largest)
    assert (result.best.item(), result.worst.item()) == (n - 2, n - 1)


@pytest.mark.parametrize(
    ("rewards", "uniform", "worst"),
    [((9, 0, 0), 0.0, 1), ((9, 0, 0), 0.5, 2), ((0, 9, 0), 0.49, 0), ((0, 9, 0), 0.99, 2)],
)
def test_best_random_draws_among_the_others(rewards, uniform, worst) -> None:
    result = select_pairs(
        bradley_terry(*map(float, rewards)), "best_random", torch.tensor([[uniform, 0.0]])
    )
    assert result.worst.item() == worst


def test_random_pairs_are_drawn_evenly_over_the_pairs() -> None:
    # A 6 x 6 grid of (first, second) uniforms hits each of the 3 pairs of 3 candidates 12 times.
    grid = torch.cartesian_prod(torch.arange(6), torch.arange(6)) / 6 + 1 / 12
    result = select_pairs(bradley_terry(2.0, 1.0, 0.0).expand(36, -1, -1), "random_pair", grid)
    pairs = list(zip(result.best.tolist(), result.worst.tolist(), strict=True))
    assert {pair: pairs.count(pair) for pair in pairs} == {(0, 1): 12, (0, 2): 12, (1, 2): 12}


def test_a_tie_in_a_random_pair_goes_to_the_lower_index() -> None:
    result = select_pairs(torch.zeros(1, 3, 3), "random_pair", torch.tensor([[0.99, 0.6]]))
    assert (result.best.item(), result.worst.item()) == (1, 2)


def test_best_below_takes_the_candidate_nearest_two_deviations_down() -> None:
    # Rewards 1, 15 zeros, -30, -60, -100: sum -189, of squares 14501; mean -9.95, deviation 25.8.
    # One deviation down is -35.7, two -61.5, three -87.3.
    pool = bradley_terry(1.0, *[0.0] * 15, -30.0, -60.0, -100.0)
    assert select_pairs(pool, "best_below").worst.item() == 17
    assert select_pairs(pool, "west").worst.item() == 18


def test_best_below_never_rejects_the_best() -> None:
    result = select_pairs(torch.zeros(1, 2, 2), "best_below")
    assert (result.best.item(), result.worst.item()) == (0, 1)


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (torch.zeros(1, 1, 1), "N >= 2"),
        (torch.zeros(3, 3), r"needs \(prompts, N, N\)"),
        (torch.zeros(1, 2, 3), "N >= 2"),
        (torch.tensor([[[0.0, 0.0]] * 2, [[0.0, torch.nan]] * 2]), "margins of prompt 1 are NaN"),
        (torch.tensor([[[0.0, torch.inf], [-torch.inf, 0.0]]]), "margins of prompt 0"),
    ],
)
def test_unfit_margins_are_refused(pool, message) -> None:
    with pytest.raises(ValueError, match=message):
        exact_best_worst(pool)
    with pytest.raises(ValueError, match=message):
        select_pairs(pool, "west")


@pytest.mark.parametrize("size", [1, 4])
def test_a_nested_size_outside_the_pool_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"pool size is {size}, needs 2 to 3"):
        nested_best_worst(torch.zeros(1, 3, 3), [2, size])


def test_default_sizes_of_one_candidate_are_refused() -> None:
    with pytest.raises(ValueError, match="n is 1, needs at least 2"):
        default_sizes(1)


def test_an_unknown_selector_is_refused() -> None:
    with pytest.raises(ValueError, match="needs one of west, best_random, random_pair, best_below"):
        select_pairs(torch.zeros(1, 2, 2), "best", None)  # type: ignore[arg-type]


@pytest.mark.parametrize("selector", ["best_random", "random_pair"])
@pytest.mark.parametrize(
    ("uniforms", "message"),
    [
        (None, "uniforms are missing"),
        (torch.zeros(2, 2), r"shape \(2, 2\), needs \(1, 2\)"),
        (torch.tensor([[0.0, 1.0]]), r"needs numbers in \[0, 1\)"),
        (torch.tensor([[0.0, torch.nan]]), r"needs numbers in \[0, 1\)"),
    ],
)
def test_random_selectors_refuse_unfit_uniforms(selector, uniforms, message) -> None:
    with pytest.raises(ValueError, match=message):
        select_pairs(torch.zeros(1, 2, 2), selector, uniforms)
