from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from westofn.core import selection
from westofn.core.comparators import margins
from westofn.core.selection import (
    SELECTORS,
    choose_in_groups,
    default_sizes,
    exact_best_worst,
    nested_best_worst,
    nested_best_worst_by_rewards,
    random_pairs,
    select_pairs,
    top_bottom_pairs,
    uncertain_pair,
    usable_pools,
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


@given(skew_margins(), st.sampled_from(list(SELECTORS)), st.data())
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
    if name not in ("random_pair", "quartiles"):
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
    ("rewards", "worst"),
    [
        ((1, 9), 0),  # the only other one
        ((1, 9, 4), 2),  # of two others, the better one
        ((1, 9, 4, 3), 3),  # 4, 3, 1
        ((1, 9, 4, 3, 2), 3),  # 4, 3, 2, 1: the better of 3 and 2
        ((5, 5, 9, 5, 5), 1),  # four that tie: ranks 0, 1, 3, 4
    ],
)
def test_best_median_takes_the_median_of_the_others(rewards, worst) -> None:
    pair = select_pairs(bradley_terry(*map(float, rewards)), "best_median")
    assert pair.best.item() == rewards.index(9)
    assert pair.worst.item() == worst


def test_the_median_is_of_the_others_where_the_best_is_not_first_by_mean_margin() -> None:
    # 0 beats 3 by 5 and loses to 1 and 2 by 2: mean 1/3. Means of 1, 2: 2/3 + 1/3 and 2/3 - 1/3.
    pool = torch.zeros(1, 4, 4)
    pool[0, 0, 3], pool[0, 1, 0], pool[0, 2, 0], pool[0, 1, 2] = 5.0, 2.0, 2.0, 1.0
    pool = pool - pool.transpose(1, 2)
    pair = select_pairs(pool, "best_median")
    assert (pair.best.item(), pair.worst.item()) == (0, 2)  # of 1, 2, 3 the middle one
    assert pair.p_best.item() == pytest.approx(0.119203, abs=1e-6)  # sigmoid(-2): intransitive


@pytest.mark.parametrize(
    ("n", "rank"),
    [
        (64, 16),  # (n - 1) / 4 = 15.75
        (6, 1),  # 1.25
        (5, 1),
        (4, 1),  # 0.75
        (3, 0),  # 0.5, outwards
        (2, 0),
    ],
)
def test_quartiles_stand_as_far_from_both_ends(n: int, rank: int) -> None:
    pair = select_pairs(bradley_terry(*map(float, range(n, 0, -1))), "quartiles")
    assert (pair.best.item(), pair.worst.item()) == (rank, n - 1 - rank)


@given(st.lists(st.integers(-320, 320), min_size=2, max_size=8, unique=True), st.data())
def test_of_bradley_terry_margins_the_extremes_are_matched_inwards(multiples, data) -> None:
    rewards = [multiple / 64 for multiple in multiples]
    k = data.draw(st.integers(1, len(rewards) // 2))
    ranked = sorted(range(len(rewards)), key=lambda i: -rewards[i])
    pairs = top_bottom_pairs(bradley_terry(*rewards), k)
    assert pairs.best.tolist() == [ranked[:k]]
    assert pairs.worst.tolist() == [ranked[::-1][:k]]
    gaps = torch.tensor(
        [[rewards[a] - rewards[b] for a, b in zip(ranked, ranked[::-1], strict=True)][:k]]
    )
    torch.testing.assert_close(pairs.p_best, torch.sigmoid(gaps))
    assert top_bottom_pairs(bradley_terry(*rewards), 1).worst.item() == (
        exact_best_worst(bradley_terry(*rewards)).worst.item()
    )


@given(skew_margins(), st.data())
def test_no_candidate_is_in_two_pairs_of_a_prompt(pool, data) -> None:
    n = pool.shape[-1]
    k = data.draw(st.integers(1, n // 2))
    unit = st.floats(0, 1, exclude_max=True, width=32)
    drawn = data.draw(st.lists(unit, min_size=2 * k * len(pool), max_size=2 * k * len(pool)))
    uniforms = torch.tensor(drawn).view(-1, 2 * k)
    for pairs in (top_bottom_pairs(pool, k), random_pairs(pool, k, uniforms)):
        assert pairs.best.shape == pairs.worst.shape == pairs.p_best.shape == (len(pool), k)
        for row, (best, worst) in enumerate(zip(pairs.best, pairs.worst, strict=True)):
            used = [*best.tolist(), *worst.tolist()]
            assert len(set(used)) == 2 * k
            assert set(used) <= set(range(n))
            assert torch.equal(pairs.p_best[row], torch.sigmoid(pool[row, best, worst]))
    assert (random_pairs(pool, k, uniforms).p_best >= 0.5).all()
    one, single = (
        random_pairs(pool, 1, uniforms[:, :2]),
        select_pairs(pool, "random_pair", uniforms[:, :2]),
    )
    assert torch.equal(one.best.squeeze(1), single.best)
    assert torch.equal(one.worst.squeeze(1), single.worst)


def test_ties_rank_the_lower_index_higher() -> None:
    pairs = top_bottom_pairs(torch.zeros(1, 5, 5), 2)
    assert (pairs.best.tolist(), pairs.worst.tolist()) == ([[0, 1]], [[4, 3]])


def test_random_pairs_use_up_the_candidates_evenly() -> None:
    # Of 4 candidates, uniforms at the middles of 4, 3, 2 and 1 equal parts: all 24 orders once.
    grid = torch.cartesian_prod(*((torch.arange(n) + 0.5) / n for n in (4, 3, 2)))
    grid = torch.cat([grid, torch.zeros(24, 1)], 1)
    pairs = random_pairs(bradley_terry(4.0, 3.0, 2.0, 1.0).expand(24, -1, -1), 2, grid)
    first = list(zip(pairs.best[:, 0].tolist(), pairs.worst[:, 0].tolist(), strict=True))
    assert {pair: first.count(pair) for pair in first} == dict.fromkeys(
        itertools.combinations(range(4), 2), 4
    )


@given(any_margins(), st.sampled_from([0.51, 0.6, 0.75, 0.9]))
def test_the_uncertain_pair_is_the_first_nearest_to_the_target(pool, target) -> None:
    pair = uncertain_pair(pool, target)
    for row, square in enumerate(pool.double()):
        distance = (square.sigmoid() - target).abs()
        pairs = itertools.permutations(range(len(square)), 2)
        expected = min(pairs, key=lambda p: (distance[p].item(), p))
        assert (pair.best[row].item(), pair.worst[row].item()) == expected


def test_a_skew_symmetric_model_prefers_the_chosen_of_an_uncertain_pair() -> None:
    # Probabilities 0.731, 0.953 and 0.881; 0.8 is 0.069 from the first and 0.081 from the last.
    pair = uncertain_pair(bradley_terry(0.0, -1.0, -3.0), 0.8)
    assert (pair.best.item(), pair.worst.item()) == (0, 1)
    assert uncertain_pair(bradley_terry(0.0, -1.0, -3.0), 0.99).worst.item() == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda pool: top_bottom_pairs(pool, 0), "k is 0, needs 1 to 2 pairs of 5 candidates"),
        (lambda pool: top_bottom_pairs(pool, 3), "k is 3, needs 1 to 2 pairs of 5 candidates"),
        (lambda pool: random_pairs(pool, 3, torch.zeros(1, 6)), "k is 3, needs 1 to 2"),
        (lambda pool: random_pairs(pool, 2, torch.zeros(1, 2)), r"needs \(1, 4\) numbers"),
        (lambda pool: uncertain_pair(pool, 0.5), r"confidence is 0.5, needs a number in \(0.5"),
        (lambda pool: uncertain_pair(pool, 1.0), "confidence is 1.0"),
        (lambda pool: uncertain_pair(pool[0]), r"needs \(prompts, N, N\)"),
        (lambda pool: top_bottom_pairs(pool * torch.nan, 1), "margins of prompt 0 are NaN"),
    ],
)
def test_arguments_of_the_free_selectors_are_checked(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(1, 5, 5))


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


@pytest.mark.parametrize(
    ("best", "worst", "message"),
    [
        ([0, 1], [1, 1], "chose and rejected the same candidate"),
        ([0, 3], [1, 1], "an index that is not in 0 to 2"),
        ([0, -1], [1, 1], "an index that is not in 0 to 2"),
        ([0], [1], r"torch.int64 indices of shape \(1,\), needs int64 \(2,\)"),
        ([0.0, 0.0], [1, 1], "torch.float32 indices"),
    ],
)
def test_a_selector_that_gives_no_pair_is_refused(best, worst, message) -> None:
    def selector(margins: torch.Tensor, uniforms: torch.Tensor | None):
        return torch.tensor(best), torch.tensor(worst)

    with pytest.raises(ValueError, match=message):
        select_pairs(torch.zeros(2, 3, 3), selector)


def test_an_unknown_selector_is_refused() -> None:
    with pytest.raises(ValueError, match="needs one of west, best_random, random_pair, best_below"):
        select_pairs(torch.zeros(1, 2, 2), "best", None)


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


@st.composite
def margins_with_usable(draw) -> tuple[torch.Tensor, torch.Tensor]:
    """Margins (P, N, N), and which of the candidates (P, N) may form a pair."""
    pool = draw(any_margins())
    prompts, n = pool.shape[:2]
    flat = draw(st.lists(st.booleans(), min_size=prompts * n, max_size=prompts * n))
    return pool, torch.tensor(flat).view(prompts, n)


def among(pool: torch.Tensor, usable: torch.Tensor, selector: str):
    uniforms = torch.linspace(0, 0.9, 2 * len(pool)).view(-1, 2)
    return choose_in_groups(
        usable_pools(usable),
        lambda group: select_pairs(group.margins(pool), selector, uniforms[group.rows]),
    )


@given(margins_with_usable())
def test_the_pair_is_the_best_one_of_usable_candidates(case) -> None:
    pool, usable = case
    result = among(pool, usable, "west")
    for row, square in enumerate(pool.tolist()):
        places = usable[row].nonzero().squeeze(1).tolist()
        if len(places) < 2:
            places = list(range(len(square)))
        best, worst = brute_force([[square[i][j] for j in places] for i in places])
        assert (result.best[row], result.worst[row]) == (places[best], places[worst])
        margin = pool[row, places[best], places[worst]]
        assert torch.equal(result.p_best[row], margin.sigmoid())


@given(margins_with_usable(), st.sampled_from(sorted(SELECTORS)))
def test_every_selector_takes_usable_candidates_alone(case, selector: str) -> None:
    pool, usable = case
    result = among(pool, usable, selector)
    enough = usable.sum(1) >= 2
    for chosen in (result.best, result.worst):
        assert usable[enough].gather(1, chosen[enough].unsqueeze(1)).all()
    assert (result.best != result.worst).all()


@given(any_margins(), st.sampled_from(sorted(SELECTORS)))
def test_pools_whose_candidates_are_all_usable_keep_their_pair(pool, selector: str) -> None:
    uniforms = torch.linspace(0, 0.9, 2 * len(pool)).view(-1, 2)
    whole = select_pairs(pool, selector, uniforms)
    result = among(pool, torch.ones(pool.shape[:2], dtype=torch.bool), selector)
    for name in ("best", "worst", "p_best"):
        assert torch.equal(getattr(result, name), getattr(whole, name))


@given(margins_with_usable())
def test_nested_pairs_are_of_the_usable_ones_of_the_first_candidates(case) -> None:
    pool, usable = case
    for size, pair in nested_best_worst(pool, default_sizes(pool.shape[1]), usable).items():
        first = among(pool[:, :size, :size], usable[:, :size], "west")
        assert torch.equal(pair.best, first.best)
        assert torch.equal(pair.worst, first.worst)
        assert int(torch.maximum(pair.best, pair.worst).max()) < size


REWARDS = {
    "different": lambda p, n, g: torch.randn(p, n, generator=g),
    "tied": lambda p, n, g: torch.randn(p, n, generator=g).round(),
    "all equal": lambda p, n, g: torch.zeros(p, n),
    "tied by rounding": lambda p, n, g: torch.randn(p, n, generator=g).round() * 3 + 1e8,
}


@pytest.mark.parametrize("kind", REWARDS)
@pytest.mark.parametrize("share", [1.0, 0.7, 0.05])
@pytest.mark.parametrize(("prompts", "n"), [(3, 2), (40, 5), (19, 33)])
def test_pairs_by_rewards_are_to_the_bit_those_of_each_pools_margins(
    kind: str, share: float, prompts: int, n: int
) -> None:
    generator = torch.Generator().manual_seed(n)
    rewards = REWARDS[kind](prompts, n, generator)
    usable = torch.rand(prompts, n, generator=generator) < share
    pool, sizes = rewards.unsqueeze(-1) - rewards.unsqueeze(-2), default_sizes(n)
    by_rewards = nested_best_worst_by_rewards(rewards, sizes, usable)
    by_margins = nested_best_worst(pool, sizes, usable)
    for size in sizes:
        one_by_one = choose_in_groups(
            usable_pools(usable[:, :size]), lambda group: exact_best_worst(group.margins(pool))
        )
        for pair in (by_rewards[size], by_margins[size]):
            assert torch.equal(pair.best, one_by_one.best)
            assert torch.equal(pair.worst, one_by_one.worst)
            assert torch.equal(pair.p_best, one_by_one.p_best)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -3e38])
def test_rewards_whose_margins_are_not_finite_are_refused(value: float) -> None:
    rewards = torch.tensor([[1.0, 2.0, 3.0], [3e38, value, 0.0]])
    with pytest.raises(ValueError, match="margins of prompt 1 are NaN or infinite"):
        nested_best_worst_by_rewards(rewards, (2, 3))


def test_pools_beyond_the_cache_give_what_each_gives_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = torch.randn(7, 6, 6, generator=torch.Generator().manual_seed(0))
    whole = nested_best_worst(pool, (4, 6))
    monkeypatch.setattr(selection, "CACHED_MARGINS", 2 * 36)
    for size, pair in nested_best_worst(pool, (4, 6)).items():
        assert torch.equal(pair.best, whole[size].best)
        assert torch.equal(pair.p_best, whole[size].p_best)
