"""Gradient checkpointing: the backward pass computes a block's activations again.

Gradients are the same, memory is that of one block and not of all, and a step takes about a third
longer. transformers' blocks do it themselves; a network that walks a block's parts asks here.
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
    """Let the blocks of a model in training mode be computed again, if `on`, until it is left.

    Raises:
        ModelError: transformers cannot do that with this model.
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
    """The same, for as long as the model lives.

    Raises:
        ModelError: As `recomputing`.
    """
    if not model.supports_gradient_checkpointing:
        raise ModelError(
            f"a {model.config.model_type} model cannot use gradient checkpointing; set "
            "gradient_checkpointing to false in runtime.toml"
        )
    _switch(model, True)


def recomputes(model: PreTrainedModel) -> bool:
    """Whether a block that is run now is to be run again in the backward pass."""
    # The last takes a walk over all modules, so it comes last.
    return model.training and torch.is_grad_enabled() and model.is_activation_checkpointing


def drops_caches(model: PreTrainedModel) -> bool:
    """Whether transformers' blocks ignore a cache, which they do with or without gradients."""
    return model.training and model.is_activation_checkpointing


def run_block(again: bool, block: Callable[..., Result], *inputs: Any) -> Result:
    """Run a block, and again in the backward pass if `again`; dropout draws the same masks."""
    if not again:
        return block(*inputs)
    # The reentrant way loses the gradients of what is no tensor among the inputs.
    result: Result = checkpoint(block, *inputs, use_reentrant=False)
    return result


def silence_dropout(module: nn.Module) -> None:
    """Set every dropout rate to 0, so that training mode, which blocks ask for, changes nothing."""
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
