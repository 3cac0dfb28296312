"""Which pairs to ask people about: a batch of pairs whose labels say most about a linear reward.

The reward is w·φ. What is known of w is a covariance C, the Laplace approximation at the fit on the
human pairs there are. A label of a pair with difference x is a logistic observation: it adds
p(1 − p)·x xᵀ to the precision C⁻¹, whichever response is preferred. So a batch is chosen before
anybody labels: take the best pair, condition C on it, take the next.

What is best: the margins of the policy's own candidates shall be known, and their variance under C
is tr(Σ_π C), with Σ_π the covariance within pools. A label lowers it by

    h·xᵀ C Σ_π C x / (1 + h·xᵀ C x),    h = p(1 − p)

(sequential design for a linear criterion, Chaloner and Verdinelli 1995). Alone this takes odd
pairs, since those are long, and a linear reward is wrong about them; it was worse than random
pairs (docs/log.md). So a pair must be typical for its prompt, short in the metric of Σ_π⁻¹, and
one of those of whose order heads that are fitted on resampled human pairs are least sure (query by
committee, Seung et al. 1992).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from westofn.core.linear_reward import (
    SMALLEST_VARIANCE,
    bootstrap_counts,
    fit_by_validation,
    fit_logistic,
    logistic_curvature,
    within_pool_covariance,
)

INFORMATION = 0.25
"""h of a label that nobody can tell beforehand."""
RESAMPLES = 200
"""Heads, each fitted on a bootstrap sample of the human pairs."""
PAIRS_A_PROMPT = 64
"""Random pairs of a prompt's candidates among which questions are looked for."""
TYPICAL_SHARE = 0.75
"""Of the pairs of a prompt: the typical ones."""
UNSURE_SHARE = 0.2
"""Of these: those of whose order the heads are least sure."""


@dataclass(frozen=True)
class CandidatePairs:
    """Pairs that may be asked about; each attribute is (pairs,) int64.

    Attributes:
        prompts: Rows of the pools.
        first: Candidates.
        second: Other candidates of the same pools.
    """

    prompts: Tensor
    first: Tensor
    second: Tensor

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.prompts)

    def take(self, rows: Tensor) -> CandidatePairs:
        """Some of the pairs."""
        return CandidatePairs(self.prompts[rows], self.first[rows], self.second[rows])

    def differences(self, pools: Tensor) -> Tensor:
        """(pairs, width) features of the first candidates less those of the second."""
        return pools[self.prompts, self.first] - pools[self.prompts, self.second]


@dataclass(frozen=True)
class Batch:
    """Pairs in the order in which they were chosen, the best first.

    Attributes:
        rows: (count,) which of the pairs.
        gains: (count,) fall of tr(Σ C) by each, given those before it.
    """

    rows: list[int]
    gains: list[float]


def choose_questions(
    human: Tensor,
    validation: Tensor,
    pools: Tensor,
    pairs: CandidatePairs,
    count: int,
    *,
    seed: int,
    a_prompt: int = 1,
) -> Batch:
    """Choose the pairs whose labels would bring most, see the module.

    Args:
        human: (labels, width) differences of the human pairs, chosen less rejected.
        validation: The same of the pairs that choose the penalty.
        pools: (prompts, candidates, width) features of the policy's samples.
        pairs: To choose from.
        count: Questions, at most.
        seed: Of the resamples.
        a_prompt: Questions about one prompt, at most.
    """
    fit = fit_by_validation(human, validation)
    heads = resampled_heads(human, fit.penalty, RESAMPLES, seed)
    within = within_pool_covariance(pools)
    size = mahalanobis(pairs.differences(pools), within)
    rows = smallest_of_group(size, pairs.prompts, TYPICAL_SHARE)
    differences = pairs.take(rows).differences(pools)
    unsure = smallest_of_group(surety(differences @ heads.T), pairs.prompts[rows], UNSURE_SHARE)
    rows, differences = rows[unsure], differences[unsure]
    batch = choose_batch(
        differences,
        pairs.prompts[rows],
        count,
        covariance=laplace_covariance(human, fit.weights, fit.penalty),
        target=within,
        a_group=a_prompt,
    )
    return Batch(rows[batch.rows].tolist(), batch.gains)


def resampled_heads(differences: Tensor, penalty: float, resamples: int, seed: int) -> Tensor:
    """(resamples, width) heads, each fitted on a bootstrap sample of the human pairs.

    Args:
        differences: (pairs, width), chosen less rejected.
        penalty: Of |w|²/2 beside the mean loss.
        resamples: How many.
        seed: Of the samples.
    """
    generator = torch.Generator().manual_seed(seed)
    counts = bootstrap_counts(len(differences), resamples, generator)
    return fit_logistic(differences, counts, torch.full((resamples,), penalty))


def laplace_covariance(differences: Tensor, weights: Tensor, penalty: float) -> Tensor:
    """(width, width) inverse curvature at a fit: C where the penalty is a Gaussian prior of w.

    Args:
        differences: (pairs, width) that were fitted.
        weights: (width,) the fit.
        penalty: Of |w|²/2 beside the mean loss, so of |w|²·pairs/2 beside the sum.
    """
    curvature = logistic_curvature(differences.double(), weights[None])[0]
    prior = penalty * torch.eye(len(weights), dtype=torch.float64)
    covariance: Tensor = torch.linalg.inv(len(differences) * (curvature + prior))
    return covariance


def mahalanobis(differences: Tensor, covariance: Tensor) -> Tensor:
    """(pairs,) xᵀ Σ⁻¹ x: how unusual a difference is; Σ is lifted where it is not of full rank.

    >>> x = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> mahalanobis(x, torch.tensor([[4.0, 0.0], [0.0, 1.0]])).tolist()
    [1.0, 4.0]
    """
    variances, directions = torch.linalg.eigh(covariance.double())
    floor = SMALLEST_VARIANCE * float(variances.mean())
    along = differences.double() @ directions
    sizes: Tensor = (along.square() / variances.clamp_min(floor)).sum(1)
    return sizes


def surety(margins: Tensor) -> Tensor:
    """(pairs,) |mean| / deviation of margins (pairs, heads): how sure heads are of an order."""
    sure: Tensor = margins.mean(1).abs() / margins.std(1).clamp_min(1e-300)
    return sure


def smallest_of_group(values: Tensor, groups: Tensor, share: float) -> Tensor:
    """Rows of the smallest values of every group, ascending; the share is rounded up.

    >>> groups = torch.tensor([0, 0, 0, 1])
    >>> smallest_of_group(torch.tensor([3.0, 1.0, 2.0, 9.0]), groups, 0.5).tolist()
    [1, 2, 3]
    """
    order = values.argsort(stable=True)
    order = order[groups[order].argsort(stable=True)]
    sizes = groups.bincount()
    rank = torch.arange(len(order)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    kept: Tensor = order[rank < (share * sizes).ceil().repeat_interleave(sizes)]
    return kept.sort().values


def choose_batch(
    differences: Tensor,
    groups: Tensor,
    count: int,
    *,
    covariance: Tensor,
    target: Tensor,
    a_group: int = 1,
) -> Batch:
    """Choose pairs greedily by the fall of tr(Σ C), with C conditioned on each choice.

    A choice costs O(pairs · width): xᵀ C x and xᵀ C Σ C x of all pairs are kept, and conditioning
    changes C by a matrix of rank one.

    Args:
        differences: (pairs, width) x.
        groups: (pairs,) int64 from 0: the prompt of each pair.
        count: Pairs, at most.
        covariance: (width, width) C before any label.
        target: (width, width) Σ.
        a_group: Pairs of one group, at most.

    Returns:
        The pairs and their gains; fewer than `count` where the groups are used up.
    """
    x, c, sigma = differences.double(), covariance.double(), target.double()
    known = x @ c
    variance = (known * x).sum(1)
    weighted = ((known @ sigma) * known).sum(1)
    free = torch.ones(len(x), dtype=torch.bool)
    used = torch.zeros_like(groups)  # pairs of its group that were chosen
    batch = Batch([], [])
    while len(batch.rows) < count and bool(free.any()):
        gains = INFORMATION * weighted / (1 + INFORMATION * variance)
        best = int(torch.where(free, gains, -torch.inf).argmax())
        batch.rows.append(best)
        batch.gains.append(float(gains[best]))
        used += groups == groups[best]
        free[best] = False
        free &= used < a_group
        column = c @ x[best]
        share = INFORMATION / (1 + INFORMATION * variance[best])
        along, across = x @ column, x @ (c @ (sigma @ column))
        fall = share * along
        weighted = weighted - 2 * fall * across + fall**2 * (column @ sigma @ column)
        variance = variance - fall * along
        c = c - share * torch.outer(column, column)
    return batch
