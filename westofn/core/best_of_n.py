"""Best-of-n quality against n, unbiased, from one scored pool per prompt.

Gao et al. 2022, "Scaling laws for reward model overoptimization" (arXiv 2210.10760), with the
estimator of Nakano et al. 2021 (WebGPT, arXiv 2112.09332, appendix I): instead of drawing n of the
M candidates again and again, average over all C(M, n) subsets at once, by order statistics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from westofn.core import _checks
from westofn.core._checks import FloatArray


def order_statistic_weights(pool_size: int, n: int) -> FloatArray:
    """Returns how often each rank of a pool is the best of a random subset of n.

    The candidate of rank i (1 is the lowest) is the best in C(i - 1, n - 1) of C(M, n) subsets.
    Computed from the top, w_M = n / M, by the ratio w_(i-1) / w_i = (i - n) / (i - 1): no factor
    exceeds 1, so nothing overflows, and the lowest ranks fade to zero.

    Args:
        pool_size: M >= 1.
        n: In [1, M].

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
    """Expected value of the candidate that the proxy likes best among n, for each prompt.

    The mean over all subsets of n candidates, without replacement, of the value of the one with
    the highest proxy reward; candidates that tie in the proxy are equally likely to be taken.

    Args:
        proxy: (P, M), rewards by which the candidate is chosen.
        value: (P, M), what it is worth: gold reward, judge's reward, win, length, or the proxy.
        ns: Sizes, each in [1, M].

    Returns:
        float64 (P, len(ns)).

    Raises:
        ValueError: Different shapes, an empty matrix, numbers that are not finite, n out of range.

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
    """KL divergence of best-of-n from the policy, log n - (n - 1) / n, in nats.

    Stiennon et al. 2020 (arXiv 2009.01325), appendix G.3; exact without ties, an upper bound
    otherwise (Beirami et al. 2024, arXiv 2401.01879).

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
    """Expected win of best-of-n against one baseline response of each prompt.

    Args:
        proxy: (P, M), rewards by which the candidate is chosen.
        judge_reward: (P, M), rewards of an independent judge.
        baseline_reward: (P,), the judge's reward of the baseline response.
        ns: Sizes, each in [1, M].
        p_win: Maps margins judge_reward - baseline_reward (P, M) to probabilities of a win, such
            as a sigmoid; None counts a positive margin as 1, a tie as 1/2, a negative one as 0.

    Returns:
        float64 (P, len(ns)), in [0, 1]; its mean over the prompts is the win rate.

    Raises:
        ValueError: As `best_of_n`, or `baseline_reward` has another number of rows.

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
    """Sorts each row's values by proxy, ascending; tied candidates get the mean of their values."""
    order = np.argsort(proxy, axis=1, kind="stable")
    ranked = np.take_along_axis(proxy, order, axis=1)
    values = np.take_along_axis(value, order, axis=1)
    starts = np.ones(ranked.shape, dtype=np.bool_)
    starts[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    if starts.all():
        return values
    # Row starts begin a tie group too, so one running count numbers the groups of all prompts.
    group = np.cumsum(starts) - 1
    mean = np.bincount(group, weights=values.ravel()) / np.bincount(group)
    shared: FloatArray = mean[group].reshape(values.shape)
    return shared
