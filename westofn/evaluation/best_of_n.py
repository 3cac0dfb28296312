"""Best-of-n: the independent judge's reward of the response that a model ranks first among n."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from westofn.artifacts.pools import Pools
from westofn.core.best_of_n import best_of_n, best_of_n_kl, best_of_n_win_rate
from westofn.core.metrics import bootstrap_interval
from westofn.core.seeds import derive_seed
from westofn.core.selection import default_sizes
from westofn.evaluation.by_prompt import by_prompt
from westofn.evaluation.candidate_rewards import pool_scores
from westofn.evaluation.judges import FloatArray, JudgeName
from westofn.evaluation.records import Record, with_interval


@dataclass(frozen=True)
class BestOfNEvaluation:
    """One model on the pools of the test prompts.

    Attributes:
        metrics: Flat: the curve's last point, and `n_candidates`.
        curve: A record for each n.
        scores: Table POOL_SCORES.
        by_prompt: Table PROMPT_MEASURES, the curve's last point.
    """

    metrics: Record
    curve: list[Record]
    scores: pl.DataFrame
    by_prompt: pl.DataFrame


def evaluate_best_of_n(
    model: str, proxy: FloatArray, pools: Pools, judged: FloatArray, judge: JudgeName, *, seed: int
) -> BestOfNEvaluation:
    """Curves over n = 1, 2, 4, …, N from one pool a prompt, with 95 % bootstraps over prompts.

    Each point averages over all subsets of n candidates (order statistics, WebGPT appendix I).

    - proxy: the model's own reward of its choice; gold: the judge's, where the judge is gold.
    - win_rate: of the choice against one response of the same policy that is not among the n. Each
      candidate in turn is that response, and the n are subsets of the N − 1 others; so the largest
      n that a pool of N can answer is N − 1. The record of n = N has the win rate of n = N − 1,
      and `win_rate_n` of each record is the n of its win rate.
    - A win is the sign of the judge's difference, ties half: gold's own preference, without
      annotator noise. The same for the autorater, whose probabilities are not calibrated.

    Args:
        model: Its name in the table of scores.
        proxy: (P, N) the model's own rewards, see `model_rewards`.
        pools: P prompts with N candidates.
        judged: (P, N) the judge's rewards, see `judge_pools`.
        judge: Who the judge is.
        seed: The run's seed; every model is resampled alike.
    """
    values = _by_n(proxy, judged, judge)
    curve = _records(values, proxy.shape[1], derive_seed(seed, "eval", "best_of_n"))
    last = curve[-1]
    measured = [
        by_prompt(model, f"best_of_n_{key}", pools.prompt_ids, values[key][:, -1])
        for key in ("gold", "win_rate")
        if key in values
    ]
    kept = [f"{key}{end}" for key in ("gold", "win_rate") for end in ("", "_low", "_high")]
    return BestOfNEvaluation(
        metrics={
            "n_candidates": pools.n_candidates,
            **{f"best_of_n_{key}": last[key] for key in kept if key in last},
        },
        curve=curve,
        scores=pool_scores(model, pools, proxy),
        by_prompt=pl.concat(measured),
    )


def _sizes(size: int) -> tuple[tuple[int, ...], list[int]]:
    """Every n of a pool of `size`, and the n of its win rate."""
    ns = (1, *default_sizes(size))
    return ns, [min(n, size - 1) for n in ns]


def _by_n(proxy: FloatArray, judged: FloatArray, judge: JudgeName) -> dict[str, FloatArray]:
    """Rewards and win rates of the best of n, (P, number of n) by key."""
    ns, won_ns = _sizes(proxy.shape[1])
    values = {
        "proxy": best_of_n(proxy, proxy, ns),
        "win_rate": win_rates(proxy, judged, won_ns),
    }
    if judge == "gold":
        values["gold"] = best_of_n(proxy, judged, ns)
    return values


def _records(values: dict[str, FloatArray], size: int, seed: int) -> list[Record]:
    ns, won_ns = _sizes(size)
    return [
        {
            "n": n,
            "kl": best_of_n_kl(n),
            "win_rate_n": won_ns[column],
            **_points({key: value[:, column] for key, value in values.items()}, seed),
        }
        for column, n in enumerate(ns)
    ]


def win_rates(proxy: FloatArray, judged: FloatArray, ns: list[int]) -> FloatArray:
    """Expected win of best-of-n over an independent candidate, (P, len(ns)), n ≤ N − 1.

    Unbiased: the mean over all ways to set one candidate aside and to take n of the others.
    """
    size = proxy.shape[1]
    total = np.zeros((len(proxy), len(ns)))
    for baseline in range(size):
        others = np.arange(size) != baseline
        total += best_of_n_win_rate(proxy[:, others], judged[:, others], judged[:, baseline], ns)
    mean: FloatArray = total / size
    return mean


def _points(columns: dict[str, FloatArray], seed: int) -> Record:
    record: Record = {}
    for key, values in columns.items():
        record |= with_interval(key, bootstrap_interval(values, seed=seed))
    return record
