"""In which numbers a model computes: fp32, or bf16 with what must be exact kept in fp32.

| precision | weights in training | weights of a saved model | matrix products |
|---|---|---|---|
| fp32 | fp32 | fp32 | fp32 |
| bf16 | fp32; under LoRA the frozen ones bf16 | bf16 | bf16 |

Reward heads, read-outs, log-probabilities and all sums over tokens are fp32 in both. A saved model
says its precision in its card, and whatever starts from it trains in that precision.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from transformers import PreTrainedModel

from westofn.params.network import Precision

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def precision_of(model: PreTrainedModel) -> Precision:
    """The precision of a saved model that was loaded."""
    return "bf16" if model.dtype == torch.bfloat16 else "fp32"


def rounded(model: PreTrainedModel, precision: Precision) -> PreTrainedModel:
    """The model as a load of what is saved would give it, in place.

    Buffers that are no weights, such as the frequencies of rotary positions, are computed anew at
    load, in fp32; so they stay as they are.
    """
    dtype = DTYPES[precision]
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)
    saved = model.state_dict().keys()
    for name, buffer in model.named_buffers():
        if name in saved and buffer.is_floating_point():
            buffer.data = buffer.data.to(dtype)
    return model


def computing(device: torch.device, mixed: bool) -> AbstractContextManager[object]:
    """Where matrix products of fp32 weights are taken in bf16, if `mixed`.

    One forward pass is one such place: torch keeps the weights' bf16 copies until it is left, so
    no optimiser step may lie within.
    """
    return torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext()
