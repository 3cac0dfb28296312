"""κ: variance of texts along the human preference, relative to a random direction.

For a reward w·φ and a covariance Σ of features, κ(Σ) = (wᵀ Σ w / wᵀ w) / mean variance. A fit ŵ in
place of w would bias κ by the noise of ŵ. Fits on two halves of the pairs, A and B, have
independent noise, so ŵ_Aᵀ Σ ŵ_B estimates wᵀ Σ w without that bias. See docs/theory.md.
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
    """κ of the policy's samples and of the human pairs, with intervals.

    Attributes:
        policy: κ of Σ_π, the covariance of the policy's samples; 1 if preference and variance are
            unrelated.
        human: κ_H of Σ_H, the covariance of the human pairs.
        ratio: κ / κ_H; West-of-N can help if it is well above 1.
        policy_interval: 95 % bootstrap interval of κ over pairs.
        human_interval: 95 % bootstrap interval of κ_H over pairs.
        ratio_interval: 95 % bootstrap interval of the ratio over pairs.
        agreement: Mean over splits of the cosine between the fits on the two halves. Near 0, the
            labels are too few or too noisy to estimate κ.
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
    """Estimate κ and κ_H from fits on random halves of the pairs.

    Args:
        differences: (pairs, width), features of human pairs, chosen minus rejected; at least 4.
        pools: (prompts, candidates, width), features of the policy's samples.
        penalty: Ridge penalty of the fits on halves; use the penalty chosen by validation for all
            pairs.
        seed: Seed of the splits and resamples.
        resamples: Number of bootstrap samples of the pairs.

    Returns:
        None if the fits on the two halves do not agree on a direction, so that κ cannot be
        estimated.

    Raises:
        ValueError: There are fewer than 4 pairs, or fewer than 2 candidates a prompt.
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
    resampled = _Halves.fit(differences, counts, SPLITS_A_RESAMPLE, penalty, generator)
    policy_samples, human_samples = resampled.kappa(policy), resampled.kappa(human)
    policy_kappa, human_kappa = float(point.kappa(policy)), float(point.kappa(human))
    return Kappa(
        policy=policy_kappa,
        human=human_kappa,
        ratio=policy_kappa / human_kappa,
        policy_interval=_interval(policy_samples),
        human_interval=_interval(human_samples),
        ratio_interval=_interval(policy_samples / human_samples),
        agreement=point.cosine,
    )


@dataclass(frozen=True)
class _Halves:
    """Fits on both halves of the pairs, each (weightings, splits, width)."""

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
        """Fit both halves of each split; all copies of a pair go to the same half."""
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
        """Inner products ŵ_A·ŵ_B, (weightings, splits)."""
        return (self.first * self.second).sum(-1)

    @property
    def cosine(self) -> float:
        """Mean cosine between the fits on the two halves."""
        sizes = self.first.norm(dim=-1) * self.second.norm(dim=-1)
        return float((self.products / sizes.clamp_min(1e-300)).mean())

    def kappa(self, covariance: Tensor) -> Tensor:
        """κ of a covariance for each weighting, (weightings,).

        It is a ratio of sums over splits: a mean of ratios is unstable for small denominators.
        """
        variances = ((self.first @ covariance) * self.second).sum(-1)
        return variances.sum(-1) / self.products.sum(-1)


def _relative(covariance: Tensor) -> Tensor:
    return covariance / covariance.diagonal().mean()


def _interval(values: Tensor) -> tuple[float, float]:
    low, high = torch.quantile(values, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
