"""The arms as linear heads on frozen features: a second an arm, so many draws of the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.human.corpus import Features
from westofn.core.forecast import forecast
from westofn.core.forecast_terms import TWICE, Option
from westofn.core.kappa import measure_kappa
from westofn.core.linear_reward import (
    POWERS,
    LinearReward,
    balanced_shares,
    extreme_differences,
    fit_by_validation,
    prior_roots,
    within_pool_covariance,
)
from westofn.core.metrics import accuracy
from westofn.core.seeds import derive_seed
from westofn.evaluation.best_of_n import win_rates
from westofn.evaluation.forecasting import MOST_PROMPTS, MOST_SAMPLES, calibrated
from westofn.evaluation.records import Record, measured

KAPPA_DRAWS = 3
KAPPA_RESAMPLES = 2
"""Seeds give the interval of κ here, so the bootstrap within a seed is not used."""

SEVERAL = 4
"""A pool of N gives N / SEVERAL pairs where an arm takes several: 16 of 64."""


@dataclass(frozen=True)
class Labels:
    """One draw of the labels.

    Attributes:
        half: Rows of the train pairs that are HF50.
        full: Rows of HF100; `half` and as many others, or all others.
    """

    half: Tensor
    full: Tensor


def draw_labels(labeled: Tensor, allowed: Tensor, count: int, seed: int, draw: int) -> Labels:
    """Draw HF50 and HF100 from the train pairs.

    Args:
        labeled: (pairs,) bool; false for pairs of D_U's prompts, which only HF100 may have.
        allowed: (pairs,) bool; pairs that may be drawn at all.
        count: Pairs in HF50, at most half of those allowed, or all labeled ones.
        seed: The run's; it decides the draw.
        draw: Number of the draw.
    """
    chance = torch.Generator().manual_seed(derive_seed(seed, "human labels", draw))
    order = torch.randperm(len(labeled), generator=chance)
    order = order[allowed[order]]
    own, others = order[labeled[order]], order[~labeled[order]]
    if not len(others):
        count = min(count, len(own) // 2)
        return Labels(own[:count], own[: 2 * count])
    half = own[:count]
    return Labels(half, torch.cat([half, others[: len(half)]]))


def fit_arms(features: Features, labels: Labels, seed: int) -> dict[str, LinearReward]:
    """Every arm on one draw of the labels.

    Args:
        features: The run's.
        labels: The draw.
        seed: Decides the random choices in pools.
    """
    half, full = features.train[labels.half], features.train[labels.full]
    validation, pools = features.validation, features.pools
    base = fit_by_validation(half, validation)
    scores = pools @ base.weights
    roots = prior_roots(within_pool_covariance(pools), POWERS)

    def student(synthetic: Tensor) -> LinearReward:
        shares = balanced_shares(len(half), len(synthetic))
        return fit_by_validation(torch.cat([half, synthetic]), validation, shares=shares)

    several = max(1, pools.shape[1] // SEVERAL)
    return {
        "hf50": base,
        "hf100": fit_by_validation(full, validation),
        "west": student(extreme_differences(pools, scores)),
        "several": student(extreme_differences(pools, scores, several)),
        "random_pair": student(extreme_differences(pools[:, :2], scores[:, :2])),
        "best_random": student(_best_random(pools, scores, seed)),
        "prior": fit_by_validation(half, validation, roots=roots),
    }


def _best_random(pools: Tensor, scores: Tensor, seed: int) -> Tensor:
    """(prompts, width) the best candidate less a random other one."""
    chance = torch.Generator().manual_seed(derive_seed(seed, "human best against random"))
    prompts, count = scores.shape
    rows, best = torch.arange(prompts), scores.argmax(1)
    step = torch.randint(1, count, (prompts,), generator=chance)
    return pools[rows, best] - pools[rows, (best + step) % count]


@dataclass(frozen=True)
class LinearJudge:
    """A linear head on human pairs that no arm sees.

    Attributes:
        weights: (width,).
    """

    weights: Tensor

    @classmethod
    def fit(cls, features: Features) -> LinearJudge | None:
        """None where the task has no pairs for a judge."""
        if not len(features.autorater):
            return None
        return cls(fit_by_validation(features.autorater, features.validation).weights)

    def win_rate(self, features: Features, scores: Tensor) -> float:
        """Expected wins of the best of N − 1 samples by some scores, over another sample.

        Args:
            features: The run's.
            scores: (test prompts, N).
        """
        judged = (features.test_pools @ self.weights).numpy()
        rates = win_rates(scores.double().numpy(), judged, [scores.shape[1] - 1])
        return float(np.mean(rates))


def measure_margins(margins: Tensor, features: Features) -> Record:
    """Accuracy of margins on the test pairs, and on those that lie nearest to the policy.

    Args:
        margins: (test pairs,) of chosen over rejected.
        features: The run's.
    """
    values, nearness = margins.double().numpy(), features.test_nearness
    record: Record = {"accuracy": accuracy(values)}
    if len(nearness):
        record["near_accuracy"] = accuracy(values, (nearness >= nearness.median()).numpy())
    return record


def measure_arms(
    arms: Mapping[str, LinearReward], features: Features, judge: LinearJudge | None
) -> dict[str, Record]:
    """What each arm's head is worth."""
    records: dict[str, Record] = {}
    for name, reward in arms.items():
        record = measure_margins(features.test @ reward.weights, features)
        if judge is not None:
            record["win_rate"] = judge.win_rate(features, features.test_pools @ reward.weights)
        if name == "prior":
            record["power"] = reward.power
        records[name] = record
    return records


def measure_forecast(differences: Tensor, features: Features, n: int, seed: int) -> Record:
    """The forecast of one draw of the labels, from what `westofn forecast` reads.

    Args:
        differences: (pairs, width) of HF50.
        features: The run's.
        n: Candidates in a pool.
        seed: The run's.

    Returns:
        Means and ends of 95 % intervals, in points of held-out accuracy; empty below 4 pairs.
    """
    if len(differences) < 4:
        return {}
    west = Option(n, 1)
    result = calibrated(
        forecast(
            differences,
            features.validation,
            features.pools[:MOST_PROMPTS, :MOST_SAMPLES],
            seed=derive_seed(seed, "forecast") % 2**63,
            options=(west,),
            resamples=KAPPA_RESAMPLES,
        )
    )
    gains = {"west": result.gains[west.name]["accuracy"], "twice": result.gains[TWICE]["accuracy"]}
    return measured(
        {
            f"{arm}_{end}": getattr(gain, end)
            for arm, gain in gains.items()
            for end in ("mean", "low", "high")
        }
    )


def measure_directions(differences: Tensor, pools: Tensor, penalty: float, seed: int) -> Record:
    """κ and κ_H by split halves; without them where halves of the labels do not agree."""
    if len(differences) < 4:
        return {}
    kappa = measure_kappa(differences, pools, penalty, seed=seed, resamples=KAPPA_RESAMPLES)
    if kappa is None:
        return {}
    return measured(
        {
            "kappa": kappa.policy,
            "kappa_human": kappa.human,
            "kappa_ratio": kappa.ratio,
            "agreement": kappa.agreement,
        }
    )
