"""Temperature scaling of margins, and a validation loss independent of the margins' scale."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

_GOLDEN = (5**0.5 - 1) / 2
_LOG_SCALE = 7.0  # scales e^-7 to e^7 are searched, for margins with mean absolute value 1


def calibrated_loss(margins: Tensor) -> float:
    """Smallest mean of −log σ(s·margin) over scales s > 0.

    This is the validation loss after temperature scaling (Guo et al. 2017). It selects checkpoints
    because accuracy on a few hundred pairs is too coarse, and because the unscaled loss penalises
    the large margins that training on very easy synthetic pairs produces.

    Args:
        margins: (pairs,), margins of chosen over rejected, logits.

    Returns:
        The loss, at most log 2, which is the loss of zero margins.

    Raises:
        ValueError: There are no margins, or one is not finite.

    >>> round(calibrated_loss(torch.zeros(3)), 4)
    0.6931
    """
    chance = float(torch.tensor(2.0).log())
    unit, spread = _unit(margins)
    return min(_loss(unit, _best_scale(unit, 1.0), 1.0), chance) if spread else chance


def calibrated_losses(margins: Tensor) -> Tensor:
    """Compute `calibrated_loss` for many models at once.

    Args:
        margins: (models, pairs), margins of chosen over rejected, logits.

    Returns:
        (models,) float64 losses.

    Raises:
        ValueError: As `calibrated_loss`.

    >>> calibrated_losses(torch.tensor([[0.0, 0.0], [1.0, -3.0]])).tolist() == [math.log(2)] * 2
    True
    """
    if margins.numel() == 0 or not bool(margins.isfinite().all()):
        raise ValueError(
            f"calibration needs finite margins, found {margins.flatten().tolist()[:3]}"
        )
    wide = margins.double()
    spread = wide.abs().mean(1, keepdim=True)
    unit = torch.where(spread > 0, wide / spread, wide)

    def loss(log_scale: Tensor) -> Tensor:
        return softplus(-log_scale.exp()[:, None] * unit).mean(1)

    low = torch.full((len(unit),), -_LOG_SCALE, dtype=torch.float64)
    high = -low
    for _ in range(60):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        keep_left = loss(left) <= loss(right)
        high = torch.where(keep_left, right, high)
        low = torch.where(keep_left, low, left)
    return loss((low + high) / 2).clamp_max(math.log(2))


def calibrating_scale(margins: Tensor) -> float:
    """Scale s > 0 (1 / temperature) at which σ(s·margin) best predicts the labels.

    The target probability of each label is Platt's (1999) (n + 1) / (n + 2) instead of 1, so the
    scale stays finite if all of a few pairs are ordered correctly.

    Args:
        margins: (n,), margins of chosen over rejected for pairs outside the training data, logits.

    Returns:
        The scale; 1 if every margin is 0, near 0 if the mean margin is not positive.

    Raises:
        ValueError: There are no margins, or one is not finite.

    >>> margins = torch.tensor([1.0, 1.0, 1.0, -1.0])  # right in 4/6 by Platt's count
    >>> round(float(torch.sigmoid(torch.tensor(calibrating_scale(margins)))), 3)
    0.667
    """
    unit, spread = _unit(margins)
    target = (len(unit) + 1) / (len(unit) + 2)
    return _best_scale(unit, target) / spread if spread else 1.0


def _unit(margins: Tensor) -> tuple[Tensor, float]:
    """Return the margins divided by their mean absolute value, and that value."""
    if margins.numel() == 0 or not bool(margins.isfinite().all()):
        raise ValueError(f"calibration needs finite margins, found {margins.tolist()[:3]}")
    wide = margins.double()
    spread = float(wide.abs().mean())
    return (wide / spread if spread else wide), spread


def _loss(unit: Tensor, scale: float, target: float) -> float:
    """Mean cross-entropy of σ(scale·unit) if `target` is the probability that chosen is better."""
    return float(softplus(-scale * unit).mean() + (1 - target) * scale * unit.mean())


def _best_scale(unit: Tensor, target: float) -> float:
    """Minimise the loss by golden-section search; it is convex in s, so unimodal in log s."""

    def loss(log_scale: float) -> float:
        return _loss(unit, math.exp(log_scale), target)

    low, high = -_LOG_SCALE, _LOG_SCALE
    for _ in range(60):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)
