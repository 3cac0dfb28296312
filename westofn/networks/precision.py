"""Precision of weights and computations: fp32, or bf16 with sensitive parts in fp32.

| precision | weights in training | weights of a saved model | matrix products |
|---|---|---|---|
| fp32 | fp32 | fp32 | fp32 |
| bf16 | fp32; with LoRA frozen weights are bf16 | bf16 | bf16 |

Reward heads, read-outs, log-probabilities and all sums over tokens are always fp32. The card of a
saved model contains its precision, and models that start from it are trained in this precision.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from transformers import PreTrainedModel

from westofn.networks.sharding import is_sharded
from westofn.params.network import Precision

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def precision_of(model: PreTrainedModel) -> Precision:
    """Return the precision of a loaded model."""
    return "bf16" if model.dtype == torch.bfloat16 else "fp32"


def rounded(model: PreTrainedModel, precision: Precision) -> PreTrainedModel:
    """Round the weights in place to the precision in which the model is saved.

    Buffers that are not saved, such as the frequencies of rotary embeddings, are recomputed in fp32
    on load, so they are not rounded.
    """
    dtype = DTYPES[precision]
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)
    saved = model.state_dict().keys()
    for name, buffer in model.named_buffers():
        if name in saved and buffer.is_floating_point():
            buffer.data = buffer.data.to(dtype)
    return model


def computing(model: PreTrainedModel, mixed: bool) -> AbstractContextManager[object]:
    """Return a context in which matrix products of fp32 weights use bf16, if `mixed`.

    Use it for a single forward pass: torch caches bf16 copies of the weights until the context
    ends, so it must not contain an optimiser step. Of sharded weights it caches none, since the
    copies would be of all layers at once.
    """
    if not mixed:
        return nullcontext()
    return torch.autocast(model.device.type, torch.bfloat16, cache_enabled=not is_sharded(model))
