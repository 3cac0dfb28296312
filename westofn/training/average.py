"""The moving average of a model's weights that validation sees and that is kept (ADR 15)."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from westofn.networks.adapters import copy_sharing_frozen

Module = TypeVar("Module", bound=nn.Module)


class MovingAverage(nn.Module, Generic[Module]):
    """An average that follows a model; frozen weights are the model's own, so LoRA's is small.

    Attributes:
        module: The average, to be used like the model; in no optimiser.
        updates: How often it followed, a scalar.
    """

    module: Module
    updates: Tensor

    def __init__(self, model: Module, decay: float) -> None:
        super().__init__()
        self.module, self.decay = copy_sharing_frozen(model).requires_grad_(False), decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def follow(self, model: Module) -> None:
        """One step with a decay that warms up, min(decay, (1 + t) / (10 + t)); the first copies.

        With a constant decay a checkpoint of the first 1 / (1 − decay) steps is mostly the start.
        """
        both = zip(self.module.parameters(), model.parameters(), strict=True)
        apart = [(mine, its) for mine, its in both if mine is not its]
        average: list[Tensor] = [mine for mine, _ in apart]
        current: list[Tensor] = [its for _, its in apart]
        if done := int(self.updates):
            warm = (1 + done) / (10 + done)
            torch._foreach_lerp_(average, current, 1 - min(self.decay, warm))
        else:
            torch._foreach_copy_(average, current)
        self.updates += 1
