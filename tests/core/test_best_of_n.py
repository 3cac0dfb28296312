from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.best_of_n import (
    best_of_n,
    best_of_n_kl,
    best_of_n_win_rate,
    order_statistic_weights,
)

POOLS = st.lists(
    st.tuples(st.integers(0, 3).map(float), st.floats(-10, 10)), min_size=1, max_size=7
)


def brute_force(proxy: list[float], value: list[float], n: int) -> float:
    """Mean over all subsets of n of the value of its best by proxy, tied ones taken evenly."""
    total = []
    for subset in itertools.combinations(range(len(proxy)), n):
        top = max(proxy[index] for index in subset)
        total.append(np.mean([value[index] for index in subset if proxy[index] == top]))
    return float(np.mean(total))


@given(POOLS)
def test_order_statistics_equal_the_enumeration_of_all_subsets(pool) -> None:
    proxy, value = (list(column) for column in zip(*pool, strict=True))
    ns = range(1, len(pool) + 1)
    expected = [brute_force(proxy, value, n) for n in ns]
    np.testing.assert_allclose(best_of_n([proxy], [value], ns)[0], expected, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 64, 255, 511, 512])
def test_weights_of_512_candidates_are_exact_to_twelve_digits(n: int) -> None:
    exact = [Fraction(math.comb(rank - 1, n - 1), math.comb(512, n)) for rank in range(1, 513)]
    weights = order_statistic_weights(512, n)
    np.testing.assert_allclose(weights, [float(weight) for weight in exact], rtol=1e-12)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)


def test_best_of_one_is_the_mean_and_best_of_all_the_favourite() -> None:
    proxy, value = [[3.0, 1.0, 2.0]], [[10.0, 20.0, 60.0]]
    assert best_of_n(proxy, value, [1, 3])[0] == pytest.approx([30.0, 10.0])


def test_a_constant_proxy_leaves_the_mean_at_every_n() -> None:
    curve = best_of_n(np.zeros((1, 4)), [[1.0, 2.0, 3.0, 6.0]], [1, 2, 3, 4])
    assert curve[0] == pytest.approx([3.0] * 4)


def test_each_prompt_is_computed_on_its_own() -> None:
    rng = np.random.default_rng(0)
    proxy, value = rng.integers(0, 3, size=(5, 6)), rng.normal(size=(5, 6))
    together = best_of_n(proxy, value, [1, 2, 6])
    alone = [
        best_of_n(proxy[row : row + 1], value[row : row + 1], [1, 2, 6])[0] for row in range(5)
    ]
    np.testing.assert_allclose(together, alone, atol=1e-12)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20))
def test_the_proxy_itself_never_falls_with_n(proxy) -> None:
    curve = best_of_n([proxy], [proxy], range(1, len(proxy) + 1))[0]
    assert (np.diff(curve) >= -1e-9).all()


@given(POOLS, st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(pool, random) -> None:
    shuffled = pool.copy()
    random.shuffle(shuffled)
    ns = range(1, len(pool) + 1)
    curves = [
        best_of_n([[proxy for proxy, _ in rows]], [[value for _, value in rows]], ns)
        for rows in (pool, shuffled)
    ]
    np.testing.assert_allclose(*curves, atol=1e-9)


def test_estimates_from_pools_have_the_expectation_of_fresh_samples() -> None:
    # The best of n uniform numbers has mean n / (n + 1), whatever the size of the pool.
    uniform = np.random.default_rng(1).uniform(size=(20_000, 16))
    curve = best_of_n(uniform, uniform, [1, 2, 4, 8, 16]).mean(0)
    assert curve == pytest.approx([1 / 2, 2 / 3, 4 / 5, 8 / 9, 16 / 17], abs=0.005)


@pytest.mark.parametrize(
    ("n", "kl"), [(1, 0.0), (2, math.log(2) - 0.5), (64, math.log(64) - 63 / 64)]
)
def test_kl_of_best_of_n(n: int, kl: float) -> None:
    assert best_of_n_kl(n) == pytest.approx(kl)


def test_kl_is_the_integral_of_the_order_statistics_density() -> None:
    # The best of n has density n u^(n-1) over quantiles u: KL = integral of that times its log.
    u = (np.arange(200_000) + 0.5) / 200_000
    density = 8 * u**7
    assert best_of_n_kl(8) == pytest.approx(float((density * np.log(density)).mean()), abs=1e-6)


def test_win_rate_counts_ties_half() -> None:
    # Judge's margins -1, 0, 2 in order of the proxy: wins 0, 1/2, 1.
    proxy, judge, baseline = [[1.0, 2.0, 3.0]], [[4.0, 5.0, 7.0]], [5.0]
    # Best of 2: ranks 2 and 3 in 1/3 and 2/3 of the pairs: 1/6 + 2/3.
    wins = best_of_n_win_rate(proxy, judge, baseline, [1, 2, 3])
    assert wins[0] == pytest.approx([0.5, 5 / 6, 1.0])


def test_win_rate_takes_probabilities() -> None:
    wins = best_of_n_win_rate(
        [[1.0, 2.0]], [[0.0, math.log(3)]], [0.0], [1, 2], lambda margin: 1 / (1 + np.exp(-margin))
    )
    assert wins[0] == pytest.approx([0.625, 0.75])  # (1/2 + 3/4) / 2, 3/4


def test_win_rate_compares_each_prompt_with_its_own_baseline() -> None:
    wins = best_of_n_win_rate([[1.0], [1.0]], [[5.0], [5.0]], [4.0, 6.0], [1])
    assert wins.tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: order_statistic_weights(4, 5), "n is 5, needs 1 to 4"),
        (lambda: order_statistic_weights(4, 0), "n is 0, needs 1 to 4"),
        (lambda: best_of_n([[1.0]], [[1.0, 2.0]], [1]), "shapes differ"),
        (lambda: best_of_n([1.0], [1.0], [1]), "proxy has shape \\(1,\\)"),
        (lambda: best_of_n(np.zeros((0, 3)), np.zeros((0, 3)), [1]), "neither empty"),
        (lambda: best_of_n([[np.nan]], [[1.0]], [1]), "proxy has 1 values"),
        (lambda: best_of_n([[1.0]], [[1.0]], []), "ns is empty"),
        (lambda: best_of_n_kl(0), "n is 0, needs at least 1"),
        (lambda: best_of_n_win_rate([[1.0]], [[1.0]], [1.0, 2.0], [1]), "has 2 rows, needs 1"),
    ],
)
def test_unfit_inputs_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
