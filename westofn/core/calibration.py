"""A validation loss that does not depend on the scale of the margins."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

_GOLDEN = (5**0.5 - 1) / 2
_LOG_SCALE = 7.0  # scales from e^-7 to e^7


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
    if margins.numel() == 0 or not bool(margins.isfinite().all()):
        raise ValueError(f"calibrated_loss needs finite margins, found {margins.tolist()[:3]}")
    wide = margins.double()
    spread = wide.abs().mean()
    if spread == 0:
        return float(torch.tensor(2.0).log())
    unit = wide / spread

    def loss(log_scale: float) -> float:
        return float(softplus(-unit * torch.tensor(log_scale).double().exp()).mean())

    # The loss is convex in s, so it has one valley in log s.
    low, high = -_LOG_SCALE, _LOG_SCALE
    for _ in range(60):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return min(loss((low + high) / 2), float(torch.tensor(2.0).log()))
