"""Temperature scaling of margins, and a validation loss that does not depend on their scale."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

_GOLDEN = (5**0.5 - 1) / 2
_LOG_SCALE = 7.0  # scales from e^-7 to e^7, of margins whose mean size is 1


def calibrated_loss(margins: Tensor) -> float:
    """The smallest mean −log σ(s·margin) over scales s > 0.

    Accuracy on a few hundred validation pairs is too coarse to pick a checkpoint by, and the plain
    loss punishes a model for margins that grow, as they do on very easy synthetic pairs. This is
    the loss after temperature scaling (Guo et al. 2017): it asks for the right order and the right
    relative size.

    Args:
        margins: (pairs,) of chosen over rejected.

    Returns:
        The loss; log 2 for margins that say nothing or that point the wrong way.

    Raises:
        ValueError: There are no margins, or one is not finite.

    >>> round(calibrated_loss(torch.zeros(3)), 4)
    0.6931
    """
    nothing = float(torch.tensor(2.0).log())
    unit, spread = _unit(margins)
    return min(_loss(unit, _best_scale(unit, 1.0), 1.0), nothing) if spread else nothing


def calibrated_losses(margins: Tensor) -> Tensor:
    """`calibrated_loss` of many models at once.

    Args:
        margins: (models, pairs) of chosen over rejected.

    Returns:
        (models,) float64.

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
    """The s > 0 for which σ(s·margin) fits how often the order is right; 1 / temperature.

    The chosen response is taken for better with Platt's (1999) probability (n + 1) / (n + 2), not
    with 1, so that a few pairs in the right order do not ask for certainty.

    Args:
        margins: (n,) of chosen over rejected, of pairs that were not trained on.

    Returns:
        The scale; 1 where every margin is 0, near 0 where their mean is not positive.

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
    """Margins divided by their mean size, and that size."""
    if margins.numel() == 0 or not bool(margins.isfinite().all()):
        raise ValueError(f"calibration needs finite margins, found {margins.tolist()[:3]}")
    wide = margins.double()
    spread = float(wide.abs().mean())
    return (wide / spread if spread else wide), spread


def _loss(unit: Tensor, scale: float, target: float) -> float:
    """Mean cross-entropy of σ(scale·unit) where chosen is better with probability `target`."""
    return float(softplus(-scale * unit).mean() + (1 - target) * scale * unit.mean())


def _best_scale(unit: Tensor, target: float) -> float:
    """Golden-section search: the loss is convex in s, so it has one valley in log s."""

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
