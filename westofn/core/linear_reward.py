"""Linear rewards r(x, y) = w·φ(x, y) on frozen features: fits, covariance prior, selection.

A pair is represented by its feature difference, chosen minus rejected, so every label is 1. The
covariance prior w ~ N(0, Σ^p) favours directions in which the policy's samples vary; p = 0 is the
ridge penalty. docs/theory.md derives why training on West-of-N pairs has a similar effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from westofn.core.calibration import calibrated_losses

PENALTIES = tuple(10.0 ** (half / 2) for half in range(-8, 4))
"""Ridge penalties λ, the weights of |w|²/2 relative to the mean loss, 1e-4 to 30."""
POWERS = (0.0, 0.5, 1.0, 2.0)
"""Powers p of the prior's covariance Σ^p."""
NEWTON_STEPS = 60
CONVERGED = 1e-9  # largest Newton decrement at convergence, in units of the mean loss
SMALLEST_VARIANCE = 1e-8  # relative to the mean; keeps the prior positive in empty directions
CONSTANT = 1e-6  # features with less than this share of the largest std count as constant
NUMBERS_AT_ONCE = 2**23  # largest (problems, pairs, width) product held in memory
MOST_DIRECTIONS = 512
"""Fits of wider features are restricted to this many directions, see `directions_of`."""


class Fit(NamedTuple):
    """A penalty and a power that were tried, and the calibrated loss on validation pairs."""

    power: float
    penalty: float
    validation_loss: float


@dataclass(frozen=True)
class LinearReward:
    """A linear reward and the hyperparameters of its fit.

    Attributes:
        weights: (width,) float64, w.
        penalty: Ridge penalty λ of the fit.
        power: Power p of the prior Σ^p.
        validation_loss: Calibrated loss on the validation pairs; it chose penalty and power.
        tried: Every fit in order: powers as given, penalties from the largest.
    """

    weights: Tensor
    penalty: float
    power: float
    validation_loss: float
    tried: tuple[Fit, ...] = ()


def fit_logistic(differences: Tensor, shares: Tensor, penalties: Tensor) -> Tensor:
    """Minimise Σ_i a_i·softplus(−w·x_i) + λ·|w|²/2 for many weightings a and penalties λ.

    The loss is convex; the method is Newton's with step halving.

    Args:
        differences: (pairs, width), features of chosen minus rejected.
        shares: (problems, pairs), nonnegative weights a of the pairs; each row is divided by its
            sum.
        penalties: (problems,), λ > 0.

    Returns:
        (problems, width) float64, weights w.

    Raises:
        ValueError: Shapes do not match, a problem has no pair, or a feature is not finite.

    >>> x = torch.tensor([[1.0], [1.0], [-1.0]], dtype=torch.float64)
    >>> w = fit_logistic(x, torch.ones(1, 3), torch.tensor([1e-9]))
    >>> round(float(torch.sigmoid(w)), 3)  # two of three prefer the direction
    0.667
    """
    pairs, width = differences.shape
    if shares.shape != (len(penalties), pairs):
        raise ValueError(f"shares are {tuple(shares.shape)}, need {(len(penalties), pairs)}")
    totals = shares.double().sum(1, keepdim=True)
    if not bool((totals > 0).all()) or not bool(differences.isfinite().all()):
        raise ValueError("every problem needs a pair with weight, and finite features")
    step = max(1, NUMBERS_AT_ONCE // max(1, pairs * width))
    weightings = torch.split(shares.double() / totals, step)
    parts = zip(weightings, torch.split(penalties.double(), step), strict=True)
    return torch.cat([_newton(differences.double(), a, lam) for a, lam in parts])


def _newton(x: Tensor, shares: Tensor, penalties: Tensor) -> Tensor:
    problems, width = len(penalties), x.shape[1]
    weights = torch.zeros(problems, width, dtype=torch.float64)
    ridge = penalties[:, None, None] * torch.eye(width, dtype=torch.float64)

    def loss_of(w: Tensor) -> Tensor:
        fit = (shares * softplus(-(w @ x.T))).sum(1)
        return fit + penalties * w.square().sum(1) / 2

    loss = loss_of(weights)
    for _ in range(NEWTON_STEPS):
        p_correct = torch.sigmoid(weights @ x.T)
        gradient = penalties[:, None] * weights - (shares * (1 - p_correct)) @ x
        curvature = (shares * p_correct * (1 - p_correct))[:, :, None] * x
        direction = torch.linalg.solve(curvature.transpose(1, 2) @ x + ridge, gradient)
        decrement = (direction * gradient).sum(1)
        if bool((decrement < CONVERGED).all()):
            break
        scale = torch.ones(problems, 1, dtype=torch.float64)
        for _ in range(30):
            proposal = weights - scale * direction
            increased = loss_of(proposal) > loss + 1e-12
            if not bool(increased.any()):
                break
            scale = torch.where(increased[:, None], scale / 2, scale)
        weights = torch.where(increased[:, None], weights, proposal)
        loss = loss_of(weights)
    return weights


def bootstrap_counts(pairs: int, resamples: int, generator: torch.Generator) -> Tensor:
    """Draw bootstrap counts of each pair, (resamples, pairs) float64, as `fit_logistic` weights."""
    drawn = torch.randint(pairs, (resamples, pairs), generator=generator)
    counts = torch.zeros(resamples, pairs, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))


def logistic_curvature(differences: Tensor, weights: Tensor) -> Tensor:
    """Hessians (problems, width, width) of the mean loss at several weights (problems, width)."""
    p_correct = torch.sigmoid(weights @ differences.T)
    curvature = (p_correct * (1 - p_correct))[:, :, None] * differences
    return curvature.transpose(1, 2) @ differences / len(differences)


def inverse_spread(texts: Tensor) -> Tensor:
    """Inverse standard deviation of each feature over texts, (width,); 0 for constant features.

    Args:
        texts: (texts, width), features.
    """
    spread = texts.double().std(0, correction=0)
    varies = spread > CONSTANT * spread.max()
    return torch.where(varies, 1 / spread, torch.zeros_like(spread))


def within_pool_covariance(pools: Tensor) -> Tensor:
    """Covariance Σ_π (width, width) of candidates around the mean of their own pool.

    Args:
        pools: (prompts, candidates, width), features of the policy's samples; at least two
            candidates.

    Raises:
        ValueError: A pool has fewer than two candidates.
    """
    prompts, candidates, width = pools.shape
    if candidates < 2:
        raise ValueError(f"pools have {candidates} candidates, the covariance needs at least 2")
    centred = (pools - pools.mean(1, keepdim=True)).reshape(-1, width).double()
    return centred.T @ centred / (prompts * (candidates - 1))


def pair_covariance(differences: Tensor) -> Tensor:
    """Covariance Σ_H (width, width) of a response in human pairs: half that of the differences."""
    x = differences.double()
    return x.T @ x / (2 * len(x))


def prior_roots(covariance: Tensor, powers: Sequence[float]) -> dict[float, Tensor]:
    """Power p -> root R (width, width) of the prior's covariance Σ^p = R Rᵀ, of mean variance 1.

    Args:
        covariance: (width, width), Σ, symmetric and positive semidefinite; decomposed once.
        powers: Exponents p; 0 gives the identity.

    Raises:
        ValueError: The covariance is zero, or not finite.
    """
    variances, directions = torch.linalg.eigh(covariance.double())
    if not float(variances.mean()) > 0:
        raise ValueError("the covariance is zero, so it prefers no direction")
    relative = (variances / variances.mean()).clamp_min(SMALLEST_VARIANCE)
    roots = {}
    for power in powers:
        spread = relative**power
        roots[power] = (directions * (spread / spread.mean()).sqrt()) @ directions.T
    return roots


def directions_of(rows: Tensor, most: int) -> Tensor:
    """Orthonormal directions (width, at most `most`) to which a fit on these rows is restricted.

    The solution of a ridge fit lies in the span of the rows, so the restriction loses nothing for
    up to `most` rows. For more rows, the directions are the strongest principal directions.

    Args:
        rows: (pairs, width), feature differences times the square root of their weight in the loss.
        most: Largest number of directions.
    """
    directions: Tensor
    if len(rows) > rows.shape[1]:
        _, directions = torch.linalg.eigh(rows.T @ rows)
        return directions[:, -most:]
    if len(rows) > most:
        _, mixtures = torch.linalg.eigh(rows @ rows.T)
        rows = mixtures[:, -most:].T @ rows
    directions, _ = torch.linalg.qr(rows.T)
    return directions


def fit_by_validation(
    differences: Tensor,
    validation: Tensor,
    *,
    shares: Tensor | None = None,
    roots: Mapping[float, Tensor] | None = None,
    penalties: Sequence[float] = PENALTIES,
) -> LinearReward:
    """Fit every penalty and every power of the prior; return the fit with the best validation loss.

    Args:
        differences: (pairs, width), training pairs, chosen minus rejected.
        validation: (pairs, width), human validation pairs, chosen minus rejected.
        shares: (pairs,), weights of the training pairs; None: equal weights.
        roots: Power p -> root of the prior's covariance, see `prior_roots`; None: p = 0 only.
        penalties: Ridge penalties to try.

    Returns:
        The reward with the smallest calibrated validation loss. Ties go to the first power,
        then to the largest penalty.
    """
    x = differences.double()
    if roots is None:
        roots = {0.0: torch.eye(x.shape[1], dtype=torch.float64)}
    weighting = torch.ones(len(x)) if shares is None else shares
    lams = torch.tensor(sorted(penalties, reverse=True), dtype=torch.float64)
    best: LinearReward | None = None
    tried: list[Fit] = []
    for power, root in roots.items():
        fitted = _fit_few_directions(x @ root, weighting, lams) @ root.T
        losses = calibrated_losses(fitted @ validation.double().T).tolist()
        tried += [Fit(power, lam, loss) for lam, loss in zip(lams.tolist(), losses, strict=True)]
        for penalty, weights, loss in zip(lams.tolist(), fitted, losses, strict=True):
            if best is None or loss < best.validation_loss:
                best = LinearReward(weights, penalty, power, loss)
    assert best is not None
    return replace(best, tried=tuple(tried))


def _fit_few_directions(rows: Tensor, shares: Tensor, penalties: Tensor) -> Tensor:
    """Run `fit_logistic` with one weighting; wide rows are projected to `MOST_DIRECTIONS` first."""
    weightings = shares.expand(len(penalties), -1)
    if rows.shape[1] <= MOST_DIRECTIONS:
        return fit_logistic(rows, weightings, penalties)
    weighted = rows * shares.double().sqrt()[:, None]
    directions = directions_of(weighted, MOST_DIRECTIONS)
    return fit_logistic(rows @ directions, weightings, penalties) @ directions.T


def balanced_shares(human: int, synthetic: int, synthetic_fraction: float = 0.5) -> Tensor:
    """Weights (human + synthetic,) that give the synthetic pairs their fraction of the loss."""
    return torch.cat(
        [
            torch.full((human,), (1 - synthetic_fraction) / human, dtype=torch.float64),
            torch.full((synthetic,), synthetic_fraction / synthetic, dtype=torch.float64),
        ]
    )


def with_soft_labels(
    differences: Tensor, shares: Tensor, p_chosen: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Convert soft labels to weighted rows with hard labels.

    The cross-entropy −p·log σ(m) − (1 − p)·log σ(−m) equals the loss of the pair with weight p
    plus the loss of the swapped pair with weight 1 − p.

    Args:
        differences: (pairs, width), features of chosen minus rejected.
        shares: (pairs,), weights of the pairs.
        p_chosen: Probability that chosen is better, one per pair.

    Returns:
        Differences and shares, with an additional row for every pair with p_chosen < 1.

    >>> rows, shares = with_soft_labels(torch.tensor([[2.0], [1.0]]), torch.ones(2), [1.0, 0.75])
    >>> rows.tolist(), shares.tolist()
    ([[2.0], [1.0], [-1.0]], [1.0, 0.75, 0.25])
    """
    p = torch.tensor(p_chosen, dtype=shares.dtype)
    soft = p < 1
    return (
        torch.cat([differences, -differences[soft]]),
        torch.cat([shares * p, shares[soft] * (1 - p[soft])]),
    )


def extreme_differences(pools: Tensor, scores: Tensor, pairs_a_prompt: int = 1) -> Tensor:
    """Features of the k best candidates of every pool minus the k worst; best and worst first.

    Args:
        pools: (prompts, candidates, width), features.
        scores: (prompts, candidates), the teacher's rewards.
        pairs_a_prompt: Number of pairs k for each prompt, at most half of the candidates.

    Returns:
        (prompts · k, width), differences.

    Raises:
        ValueError: The pools are too small for k pairs.
    """
    count = scores.shape[1]
    if not 1 <= pairs_a_prompt <= count // 2:
        raise ValueError(f"{pairs_a_prompt} pairs a prompt need {2 * pairs_a_prompt} of {count}")
    order = scores.argsort(dim=1, descending=True, stable=True)
    rows = torch.arange(len(pools))[:, None]
    best = pools[rows, order[:, :pairs_a_prompt]]
    worst = pools[rows, order.flip(1)[:, :pairs_a_prompt]]
    return (best - worst).reshape(-1, pools.shape[-1])
