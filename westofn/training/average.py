"""Moving average of a model's weights; it is validated and saved (ADR 15)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from westofn.networks.sharding import own_part

Module = TypeVar("Module", bound=nn.Module)


class MovingAverage(nn.Module, Generic[Module]):
    """Exponential moving average of a model's trained weights.

    Args:
        model: The model in training.
        decay: Largest decay.
        copied: Copies the model; frozen weights may be shared.

    Attributes:
        module: Module with the averaged weights; it is not in an optimiser.
        updates: Number of updates, a scalar.
    """

    module: Module
    updates: Tensor

    def __init__(self, model: Module, decay: float, copied: Callable[[Module], Module]) -> None:
        super().__init__()
        self.module, self.decay = copied(model).requires_grad_(False), decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def follow(self, model: Module) -> None:
        """Update the average with decay min(decay, (1 + t) / (10 + t)); the first update copies.

        With a constant decay, the average of the first 1 / (1 − decay) steps is mostly the start.
        """
        pairs = zip(self.module.parameters(), model.parameters(), strict=True)
        trained = [(averaged, weight) for averaged, weight in pairs if averaged is not weight]
        average = [own_part(averaged) for averaged, _ in trained]
        current = [own_part(weight) for _, weight in trained]
        if updates := int(self.updates):
            warm_up_decay = (1 + updates) / (10 + updates)
            torch._foreach_lerp_(average, current, 1 - min(self.decay, warm_up_decay))
        else:
            torch._foreach_copy_(average, current)
        self.updates += 1
