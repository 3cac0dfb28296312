"""κ: how much more texts vary along what people care about than along a random direction.

With a reward w·φ and a covariance Σ of features, κ(Σ) = (wᵀ Σ w / wᵀ w) / mean variance. A fit ŵ in
place of w would count its own noise as preference. Two fits on halves of the pairs, A and B, have
independent noise, so ŵ_Aᵀ Σ ŵ_B estimates wᵀ Σ w without it. See docs/theory.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from westofn.core.linear_reward import (
    bootstrap_counts,
    fit_logistic,
    pair_covariance,
    within_pool_covariance,
)

SPLITS = 64
RESAMPLES = 200
SPLITS_A_RESAMPLE = 2


@dataclass(frozen=True)
class Kappa:
    """κ of the policy's samples and of the human pairs.

    Attributes:
        policy: κ of Σ_π; 1 for a preference that has nothing to do with how samples vary.
        human: κ_H of Σ_H.
        ratio: κ / κ_H; West-of-N has room where it is well above 1.
        policy_interval: 95 % bootstrap interval over pairs.
        human_interval: The same of κ_H.
        ratio_interval: The same of the ratio.
        agreement: Cosine of the fits on two halves, a mean over splits; near 0 the labels are too
            few or too noisy for κ to mean anything.
    """

    policy: float
    human: float
    ratio: float
    policy_interval: tuple[float, float]
    human_interval: tuple[float, float]
    ratio_interval: tuple[float, float]
    agreement: float


def measure_kappa(
    differences: Tensor, pools: Tensor, penalty: float, *, seed: int, resamples: int = RESAMPLES
) -> Kappa | None:
    """Measure κ and κ_H by split halves.

    Args:
        differences: (pairs, width) features of human pairs, chosen less rejected; at least 4.
        pools: (prompts, candidates, width) features of the policy's samples.
        penalty: Of the fits on halves; the one that validation chose for all pairs.
        seed: Of the splits and resamples.
        resamples: Bootstrap samples of the pairs.

    Returns:
        None where two halves of the labels do not agree on any direction, so κ cannot be told.

    Raises:
        ValueError: Fewer than 4 pairs, or 2 candidates a prompt.
    """
    if len(differences) < 4:
        raise ValueError(f"{len(differences)} pairs cannot be split in halves, needs at least 4")
    policy = _relative(within_pool_covariance(pools))
    human = _relative(pair_covariance(differences))
    generator = torch.Generator().manual_seed(seed)
    ones = torch.ones(1, len(differences), dtype=torch.float64)
    point = _Halves.fit(differences, ones, SPLITS, penalty, generator)
    agreement = float(point.products.sum())
    if agreement <= 0:
        return None
    counts = bootstrap_counts(len(differences), resamples, generator)
    drawn = _Halves.fit(differences, counts, SPLITS_A_RESAMPLE, penalty, generator)
    policies, humans = drawn.kappa(policy), drawn.kappa(human)
    by_policy, by_human = float(point.kappa(policy)), float(point.kappa(human))
    return Kappa(
        policy=by_policy,
        human=by_human,
        ratio=by_policy / by_human,
        policy_interval=_interval(policies),
        human_interval=_interval(humans),
        ratio_interval=_interval(policies / humans),
        agreement=point.cosine,
    )


@dataclass(frozen=True)
class _Halves:
    """(weightings, splits, width) fits on both halves of the pairs."""

    first: Tensor
    second: Tensor

    @classmethod
    def fit(
        cls,
        differences: Tensor,
        counts: Tensor,
        splits: int,
        penalty: float,
        generator: torch.Generator,
    ) -> _Halves:
        """All copies of a pair go to one half, so that halves share no label."""
        weightings, pairs = counts.shape
        order = torch.rand(weightings, splits, pairs, generator=generator).argsort(-1).argsort(-1)
        in_first = (order < pairs // 2).double()
        halves = []
        for member in (in_first, 1 - in_first):
            shares = (member * counts[:, None]).reshape(-1, pairs)
            penalties = torch.full((len(shares),), penalty, dtype=torch.float64)
            fitted = fit_logistic(differences, shares, penalties)
            halves.append(fitted.view(weightings, splits, -1))
        return cls(*halves)

    @property
    def products(self) -> Tensor:
        """(weightings, splits) ŵ_A·ŵ_B."""
        return (self.first * self.second).sum(-1)

    @property
    def cosine(self) -> float:
        """Mean cosine of the two halves' fits."""
        sizes = self.first.norm(dim=-1) * self.second.norm(dim=-1)
        return float((self.products / sizes.clamp_min(1e-300)).mean())

    def kappa(self, covariance: Tensor) -> Tensor:
        """(weightings,) ratio of sums over splits; a mean of ratios would explode at small ones."""
        along = ((self.first @ covariance) * self.second).sum(-1)
        return along.sum(-1) / self.products.sum(-1)


def _relative(covariance: Tensor) -> Tensor:
    return covariance / covariance.diagonal().mean()


def _interval(values: Tensor) -> tuple[float, float]:
    low, high = torch.quantile(values, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
