"""Active learning: choose pairs whose labels are most informative about a linear reward.

The reward is w·φ. The posterior covariance C of w is the Laplace approximation at the fit on the
existing human pairs. The label of a pair with feature difference x is a logistic observation that
adds h·x xᵀ with h = p(1 − p) to the precision C⁻¹, for either label. A batch can therefore be
chosen before any labelling: choose the best pair, condition C on it, choose the next.

The criterion is the variance of margins between the policy's candidates, tr(Σ_π C), where Σ_π is
the covariance within pools. A label lowers it by

        h·xᵀ C Σ_π C x / (1 + h·xᵀ C x)

(sequential design for a linear criterion, Chaloner and Verdinelli 1995). On its own the criterion
selects outliers, which have long x and which a linear reward predicts badly; it was worse than
random pairs (docs/log.md). Two filters precede it: a pair must be typical for its prompt (short in
the metric Σ_π⁻¹), and heads fitted on resampled human pairs must be uncertain about its order
(query by committee, Seung et al. 1992).
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
"""h of a label with p = 1/2."""
RESAMPLES = 200
"""Number of heads, each fitted on a bootstrap sample of the human pairs."""
PAIRS_A_PROMPT = 64
"""Number of random pairs of candidates considered for each prompt."""
TYPICAL_SHARE = 0.75
"""Share of a prompt's pairs that counts as typical."""
UNSURE_SHARE = 0.2
"""Share of the typical pairs, the ones with the least certain order, that can be chosen."""


@dataclass(frozen=True)
class CandidatePairs:
    """Pairs of candidates that can be chosen as questions; each attribute is (pairs,) int64.

    Attributes:
        prompts: Index of the pool of each pair.
        first: Index of the first candidate in the pool.
        second: Index of the second candidate in the pool.
    """

    prompts: Tensor
    first: Tensor
    second: Tensor

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.prompts)

    def take(self, rows: Tensor) -> CandidatePairs:
        """Return the pairs at the given rows."""
        return CandidatePairs(self.prompts[rows], self.first[rows], self.second[rows])

    def differences(self, pools: Tensor) -> Tensor:
        """Features of the first candidates minus features of the second, (pairs, width)."""
        return pools[self.prompts, self.first] - pools[self.prompts, self.second]


@dataclass(frozen=True)
class Batch:
    """Chosen pairs in the order of choice, the best first.

    Attributes:
        rows: (count,), indices of the pairs.
        gains: (count,), reduction of tr(Σ C) by each pair, given the pairs before it.
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
    """Choose the pairs with the most informative labels, see the module's docstring.

    Args:
        human: (labels, width), feature differences of the human pairs, chosen minus rejected.
        validation: (labels, width), the same for the pairs that choose the penalty.
        pools: (prompts, candidates, width), features of the policy's samples.
        pairs: Pairs to choose from.
        count: Largest number of questions.
        seed: Seed of the bootstrap samples.
        a_prompt: Largest number of questions about one prompt.
    """
    fit = fit_by_validation(human, validation)
    heads = resampled_heads(human, fit.penalty, RESAMPLES, seed)
    within = within_pool_covariance(pools)
    size = mahalanobis(pairs.differences(pools), within)
    rows = smallest_of_group(size, pairs.prompts, TYPICAL_SHARE)
    differences = pairs.take(rows).differences(pools)
    unsure = smallest_of_group(certainty(differences @ heads.T), pairs.prompts[rows], UNSURE_SHARE)
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
    """Fit linear heads (resamples, width), each on a bootstrap sample of the human pairs.

    Args:
        differences: (pairs, width), features of chosen minus rejected.
        penalty: Ridge penalty, the weight of |w|²/2 relative to the mean loss.
        resamples: Number of heads.
        seed: Seed of the bootstrap samples.
    """
    generator = torch.Generator().manual_seed(seed)
    counts = bootstrap_counts(len(differences), resamples, generator)
    return fit_logistic(differences, counts, torch.full((resamples,), penalty))


def laplace_covariance(differences: Tensor, weights: Tensor, penalty: float) -> Tensor:
    """Posterior covariance C (width, width) of w: the inverse Hessian at a fit.

    Args:
        differences: (pairs, width), the fitted pairs.
        weights: (width,), the fit.
        penalty: Ridge penalty, the weight of |w|²/2 relative to the mean loss; read as a Gaussian
            prior.
    """
    curvature = logistic_curvature(differences.double(), weights[None])[0]
    prior = penalty * torch.eye(len(weights), dtype=torch.float64)
    covariance: Tensor = torch.linalg.inv(len(differences) * (curvature + prior))
    return covariance


def mahalanobis(differences: Tensor, covariance: Tensor) -> Tensor:
    """Squared Mahalanobis length xᵀ Σ⁻¹ x of each difference, (pairs,).

    Eigenvalues of Σ below a small floor are raised to it.

    >>> x = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> mahalanobis(x, torch.tensor([[4.0, 0.0], [0.0, 1.0]])).tolist()
    [1.0, 4.0]
    """
    variances, directions = torch.linalg.eigh(covariance.double())
    floor = SMALLEST_VARIANCE * float(variances.mean())
    projections = differences.double() @ directions
    sizes: Tensor = (projections.square() / variances.clamp_min(floor)).sum(1)
    return sizes


def certainty(margins: Tensor) -> Tensor:
    """Certainty of the heads about each pair's order, (pairs,).

    It is |mean| / standard deviation over the heads of margins (pairs, heads).
    """
    certainties: Tensor = margins.mean(1).abs() / margins.std(1).clamp_min(1e-300)
    return certainties


def smallest_of_group(values: Tensor, groups: Tensor, share: float) -> Tensor:
    """Rows with the smallest values of every group, in ascending order; the share is rounded up.

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
    """Choose pairs greedily by the reduction of tr(Σ C); C is conditioned on each choice.

    A choice costs O(pairs · width): xᵀ C x and xᵀ C Σ C x of all pairs are stored, and conditioning
    is a rank-one update of C.

    Args:
        differences: (pairs, width), feature differences x.
        groups: (pairs,) int64 from 0, the prompt of each pair.
        count: Largest number of pairs.
        covariance: (width, width), C before any new label.
        target: (width, width), Σ.
        a_group: Largest number of pairs of one group.

    Returns:
        The pairs and their gains; fewer than `count` if no group has free pairs left.
    """
    x, c, sigma = differences.double(), covariance.double(), target.double()
    x_c = x @ c
    variance = (x_c * x).sum(1)
    weighted = ((x_c @ sigma) * x_c).sum(1)
    free = torch.ones(len(x), dtype=torch.bool)
    chosen_in_group = torch.zeros_like(groups)  # pairs of its group that were chosen
    batch = Batch([], [])
    while len(batch.rows) < count and bool(free.any()):
        gains = INFORMATION * weighted / (1 + INFORMATION * variance)
        best = int(torch.where(free, gains, -torch.inf).argmax())
        batch.rows.append(best)
        batch.gains.append(float(gains[best]))
        chosen_in_group += groups == groups[best]
        free[best] = False
        free &= chosen_in_group < a_group
        column = c @ x[best]
        share = INFORMATION / (1 + INFORMATION * variance[best])
        x_c_best, x_c_sigma_c_best = x @ column, x @ (c @ (sigma @ column))
        reduction = share * x_c_best
        weighted = (
            weighted - 2 * reduction * x_c_sigma_c_best + reduction**2 * (column @ sigma @ column)
        )
        variance = variance - reduction * x_c_best
        c = c - share * torch.outer(column, column)
    return batch
