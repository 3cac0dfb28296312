"""Unbiased estimates of best-of-n quality for several n from one scored pool per prompt.

The experiment is that of Gao et al. 2022, "Scaling laws for reward model overoptimization" (arXiv
2210.10760). The estimator is that of Nakano et al. 2021 (WebGPT, arXiv 2112.09332, appendix I): it
averages over all C(M, n) subsets of the M candidates with order statistics instead of sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from westofn.core import _checks
from westofn.core._checks import FloatArray


def order_statistic_weights(pool_size: int, n: int) -> FloatArray:
    """Return the probability that each rank of a pool is the best of a random subset of size n.

    The candidate of rank i (1 is the lowest) is the best of C(i - 1, n - 1) of the C(M, n) subsets.
    The recursion starts at the top rank, w_M = n / M, and uses w_(i-1) / w_i = (i - n) / (i - 1).
    No factor exceeds 1, so nothing overflows.

    Args:
        pool_size: Number of candidates M, at least 1.
        n: Size of the subset, 1 to M.

    Returns:
        float64 (M,), lowest rank first; sums to 1.

    Raises:
        ValueError: n outside [1, M].

    >>> order_statistic_weights(4, 2).round(4).tolist()  # 0, 1, 2, 3 of the 6 pairs
    [0.0, 0.1667, 0.3333, 0.5]
    """
    if not 1 <= n <= pool_size:
        raise ValueError(f"n is {n}, needs 1 to {pool_size}, the size of the pool")
    rank = np.arange(pool_size, 1, -1, dtype=np.float64)
    ratios = np.maximum(rank - n, 0.0) / (rank - 1.0)
    falling = np.cumprod(np.concatenate([[n / pool_size], ratios]))
    return falling[::-1].copy()


def best_of_n(proxy: ArrayLike, value: ArrayLike, ns: Sequence[int]) -> FloatArray:
    """Expected value of the best of n candidates according to a proxy reward, for each prompt.

    This is the mean, over all subsets of n candidates, of the value of the candidate with the
    highest proxy reward. Candidates with equal proxy rewards are equally likely to be picked.

    Args:
        proxy: (P, M), rewards that pick the candidate.
        value: (P, M), the quantity to average: gold reward, judge's reward, win, length or proxy.
        ns: Values of n, each in [1, M].

    Returns:
        float64 (P, len(ns)), expected values.

    Raises:
        ValueError: Shapes differ, a matrix is empty, a number is not finite, or n is out of range.

    >>> best_of_n([[1.0, 2.0, 3.0]], [[10.0, 20.0, 0.0]], [1, 2, 3]).round(4).tolist()
    [[10.0, 6.6667, 0.0]]
    """
    proxies, values = _checks.matrix("proxy", proxy), _checks.matrix("value", value)
    _checks.same_shape(proxy=proxies, value=values)
    if not ns:
        raise ValueError("ns is empty, needs at least one size")
    weights = np.stack([order_statistic_weights(proxies.shape[1], n) for n in ns])
    expected: FloatArray = _values_by_rank(proxies, values) @ weights.T
    return expected


def best_of_n_kl(n: int) -> float:
    """KL divergence of best-of-n from the policy in nats: log n - (n - 1) / n.

    Stiennon et al. 2020 (arXiv 2009.01325), appendix G.3. It is exact without ties and an upper
    bound otherwise (Beirami et al. 2024, arXiv 2401.01879).

    Raises:
        ValueError: n < 1.

    >>> best_of_n_kl(1), round(best_of_n_kl(64), 4)
    (0.0, 3.1745)
    """
    if n < 1:
        raise ValueError(f"n is {n}, needs at least 1")
    return math.log(n) - (n - 1) / n


def best_of_n_win_rate(
    proxy: ArrayLike,
    judge_reward: ArrayLike,
    baseline_reward: ArrayLike,
    ns: Sequence[int],
    p_win: Callable[[FloatArray], FloatArray] | None = None,
) -> FloatArray:
    """Probability that best-of-n wins against one baseline response, for each prompt.

    Args:
        proxy: (P, M), rewards that pick the candidate.
        judge_reward: (P, M), rewards of the candidates from an independent judge.
        baseline_reward: (P,), the judge's reward of the baseline response.
        ns: Values of n, each in [1, M].
        p_win: Maps margins judge_reward - baseline_reward (P, M) to win probabilities, for example
            a sigmoid. None: a positive margin counts 1, a tie 1/2, a negative margin 0.

    Returns:
        float64 (P, len(ns)), in [0, 1]; the mean over the prompts is the win rate.

    Raises:
        ValueError: `best_of_n` refuses the arguments, or `baseline_reward` has not P rows.

    >>> best_of_n_win_rate([[1.0, 2.0]], [[0.0, 1.0]], [0.0], [1, 2]).tolist()
    [[0.75, 1.0]]
    """
    judge = _checks.matrix("judge_reward", judge_reward)
    baseline = _checks.vector("baseline_reward", baseline_reward)
    if len(baseline) != len(judge):
        raise ValueError(f"baseline_reward has {len(baseline)} rows, needs {len(judge)}")
    margin = judge - baseline[:, None]
    win = _hard_win(margin) if p_win is None else p_win(margin)
    return best_of_n(proxy, win, ns)


def _hard_win(margin: FloatArray) -> FloatArray:
    return (np.sign(margin) + 1.0) / 2.0


def _values_by_rank(proxy: FloatArray, value: FloatArray) -> FloatArray:
    """Sort each row's values by ascending proxy; tied candidates get the mean of their values."""
    order = np.argsort(proxy, axis=1, kind="stable")
    ranked = np.take_along_axis(proxy, order, axis=1)
    values = np.take_along_axis(value, order, axis=1)
    starts = np.ones(ranked.shape, dtype=np.bool_)
    starts[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    if starts.all():
        return values
    # Each row starts a new group, so one running count numbers the groups of all prompts.
    group = np.cumsum(starts) - 1
    mean = np.bincount(group, weights=values.ravel()) / np.bincount(group)
    shared: FloatArray = mean[group].reshape(values.shape)
    return shared
