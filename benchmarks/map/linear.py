"""The arms of one cell with linear heads on frozen features: about a second an arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from benchmarks.map.features import PairFeatures, PoolFeatures
from westofn.core.linear_reward import (
    POWERS,
    LinearReward,
    balanced_shares,
    extreme_differences,
    fit_by_validation,
    prior_roots,
    within_pool_covariance,
)
from westofn.evaluation.best_of_n import win_rates

SIZES = (2, 4, 8, 16, 32)
MANY = 16
Record = dict[str, float]


def linear_arms(
    labels: Tensor,
    pairs: PairFeatures,
    unlabeled: PoolFeatures,
    test: PoolFeatures,
    *,
    sizes: bool,
    seed: int,
) -> dict[str, Record]:
    """Fit and measure every arm on one draw of labels.

    Args:
        labels: (n, width) HF100; the first half is HF50.
        pairs: Validation and test pairs.
        unlabeled: Pools of D_U; the first n / 2 are used.
        test: Pools to measure on.
        sizes: Whether to add arms of smaller N.
        seed: Decides the random candidates of best against random.

    Returns:
        Arm -> metrics; accuracies and wins in percent, gold in units of gold.
    """
    hf50 = labels[: len(labels) // 2]
    pools = unlabeled.features[: len(hf50)]
    gold = unlabeled.gold[: len(hf50)]
    roots = prior_roots(within_pool_covariance(pools), POWERS)
    teacher = fit_by_validation(hf50, pairs.validation)
    scores = pools @ teacher.weights

    def student(synthetic: Tensor, human: Tensor = hf50) -> LinearReward:
        return fit_by_validation(
            torch.cat([human, synthetic]),
            pairs.validation,
            shares=balanced_shares(len(human), len(synthetic)),
        )

    arms: dict[str, Callable[[], LinearReward]] = {
        "hf50": lambda: teacher,
        "hf100": lambda: fit_by_validation(labels, pairs.validation),
        "west": lambda: student(extreme_differences(pools, scores)),
        "west16": lambda: student(extreme_differences(pools, scores, MANY)),
        "n2": lambda: student(extreme_differences(pools[:, :2], scores[:, :2])),
        "best_random": lambda: student(_best_random(pools, scores, seed)),
        "prior1": lambda: fit_by_validation(hf50, pairs.validation, roots={1.0: roots[1.0]}),
        "prior": lambda: fit_by_validation(hf50, pairs.validation, roots=roots),
    }
    if sizes:
        for n in SIZES[1:]:
            arms[f"n{n}"] = lambda n=n: student(extreme_differences(pools[:, :n], scores[:, :n]))  # type: ignore[misc]
    fitted = {name: make() for name, make in arms.items()}
    records = {name: measure(reward.weights, pairs, test) for name, reward in fitted.items()}
    records["prior"]["power"] = fitted["prior"].power
    records["west"]["label_accuracy"] = label_accuracy(scores, gold)
    return records


def measure(weights: Tensor, pairs: PairFeatures, test: PoolFeatures) -> Record:
    """Held-out accuracy, on-policy accuracy, best-of-N gold and wins of a linear reward."""
    margins = (pairs.test @ weights).numpy()
    return {
        "accuracy": 100 * float(np.mean((np.sign(margins) + 1) / 2)),
        **measure_pool((test.features @ weights).numpy(), test.gold),
    }


def measure_pool(rewards: np.ndarray, gold: np.ndarray) -> Record:
    """On-policy accuracy on all pairs (0, 32), (1, 33) …, and best of N by a reward (P, N)."""
    half = rewards.shape[1] // 2
    agree = np.sign((rewards[:, :half] - rewards[:, half:]) * (gold[:, :half] - gold[:, half:]))
    untied = gold[:, :half] != gold[:, half:]
    best = gold[np.arange(len(gold)), rewards.argmax(1)]
    wins = win_rates(rewards, gold, [rewards.shape[1] - 1])
    return {
        "on_policy_accuracy": 100 * float(((agree + 1) / 2)[untied].mean()),
        "best_of_n_gold": float(best.mean()),
        "best_of_n_win_rate": 100 * float(wins.mean()),
    }


def label_accuracy(scores: Tensor, gold: np.ndarray) -> float:
    """Percent of best-and-worst pairs whose order is gold's, ties half."""
    rows = np.arange(len(gold))
    margin = gold[rows, scores.argmax(1).numpy()] - gold[rows, scores.argmin(1).numpy()]
    return 100 * float(((np.sign(margin) + 1) / 2).mean())


def differences_to(base: str, records: Mapping[str, Record]) -> dict[str, Record]:
    """Every arm's metrics less the base arm's."""
    return {
        name: {
            key: value - records[base][key] for key, value in record.items() if key in records[base]
        }
        for name, record in records.items()
        if name != base
    }


def _best_random(pools: Tensor, scores: Tensor, seed: int) -> Tensor:
    """The best candidate of every pool less another one that is drawn."""
    prompts, count = scores.shape
    best = scores.argmax(1)
    drawn = torch.from_numpy(np.random.default_rng(seed).integers(1, count, prompts))
    rows = torch.arange(prompts)
    return pools[rows, best] - pools[rows, (best + drawn) % count]
