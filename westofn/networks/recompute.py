"""Gradient checkpointing: the backward pass recomputes a block's activations.

Gradients do not change, memory holds the activations of one block instead of all, and a step takes
about a third longer. transformers' blocks implement it; a network that calls the parts of a block
uses `recomputes` and `run_block`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from westofn.errors import ModelError

Result = TypeVar("Result", Tensor, tuple[Tensor, ...])


@contextmanager
def recomputing(model: PreTrainedModel, on: bool) -> Iterator[None]:
    """Enable recomputation of a model's blocks in training mode within the context, if `on`.

    Raises:
        ModelError: transformers does not support it for this model.
    """
    if not on:
        yield
        return
    start_recomputing(model)
    try:
        yield
    finally:
        _switch(model, False)


def start_recomputing(model: PreTrainedModel) -> None:
    """Enable recomputation permanently.

    Raises:
        ModelError: See `recomputing`.
    """
    if not model.supports_gradient_checkpointing:
        raise ModelError(
            f"a {model.config.model_type} model cannot use gradient checkpointing; set "
            "gradient_checkpointing to false in runtime.toml"
        )
    _switch(model, True)


def recomputes(model: PreTrainedModel) -> bool:
    """Return whether a block must be recomputed in the backward pass."""
    # The last condition visits all modules, so it is evaluated last.
    return model.training and torch.is_grad_enabled() and model.is_activation_checkpointing


def drops_caches(model: PreTrainedModel) -> bool:
    """Return whether transformers' blocks ignore a cache; they do so even without gradients."""
    return model.training and model.is_activation_checkpointing


def run_block(recompute: bool, block: Callable[..., Result], *inputs: Any) -> Result:
    """Run a block; if `recompute`, run it again in the backward pass with equal dropout masks."""
    if not recompute:
        return block(*inputs)
    # The reentrant mode loses gradients of inputs that are not tensors.
    result: Result = checkpoint(block, *inputs, use_reentrant=False)
    return result


def silence_dropout(module: nn.Module) -> None:
    """Set every dropout rate to 0; recomputation needs training mode, which enables dropout."""
    for part in module.modules():
        rates = [key for key, value in vars(part).items() if isinstance(value, float)]
        for key in rates:
            if "drop" in key or (key == "p" and "Dropout" in type(part).__name__):
                setattr(part, key, 0.0)


def _switch(model: PreTrainedModel, on: bool) -> None:
    if on:
        model.activation_checkpointing_enable({"use_reentrant": False})
    else:
        model.activation_checkpointing_disable()
