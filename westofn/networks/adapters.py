"""LoRA (Hu et al. 2021, arXiv 2106.09685): W + (alpha / rank) · B A, of which A and B learn.

Adapters exist in training only. What is saved is the merged model, so nothing that loads it knows
of them, and neither a head nor an adapter can be left behind (ADR 23). peft is imported where an
adapter is made, since it is slow to import.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from westofn.errors import ParameterError
from westofn.params.lora import ALL_LINEAR, AdapterParams, LoraParams

_NAME = "default"
Module = TypeVar("Module", bound=nn.Module)
Facts = dict[str, float | int | str]


def add_adapters(
    model: PreTrainedModel,
    params: AdapterParams,
    key: str,
    whole: Collection[str] = (),
) -> None:
    """Put adapters on linear layers in place and freeze all other weights; the caller seeds torch.

    A is random and B zero, so the model answers as before. Adapters are fp32 whatever the model is.

    Args:
        model: What learns nothing but adapters from now on.
        params: A section `lora` with a rank above 0.
        key: Of the section, for messages.
        whole: Names of weights that learn as they are, unless they are frozen already.

    Raises:
        ParameterError: A target names no linear layer, or the model has adapters already.
    """
    from peft import LoraConfig, inject_adapter_in_model

    learn = {name for name in learned_weights(model) if name in whole}
    config = LoraConfig(
        r=params.rank,
        lora_alpha=params.alpha,  # type: ignore[arg-type]  # it divides, so a float will do
        lora_dropout=params.dropout if isinstance(params, LoraParams) else 0.0,
        target_modules=_targets(model, params.targets, key, learn),
    )
    with warnings.catch_warnings():
        # GPT-2's layers hold transposed weights; peft notices and says so.
        warnings.filterwarnings("ignore", message="fan_in_fan_out")
        inject_adapter_in_model(config, model, _NAME)
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name or name in learn)
        if weight.requires_grad:
            weight.data = weight.data.float()


def adapted_copy(model: PreTrainedModel, params: AdapterParams, key: str) -> PreTrainedModel:
    """A model with adapters beside the same one without: both read the same memory.

    Raises:
        ParameterError: As `add_adapters`.
    """
    shared: dict[int, Any] = {
        id(weight): nn.Parameter(weight.detach(), requires_grad=weight.requires_grad)
        for weight in model.parameters()
    }
    adapted = copy.deepcopy(model, shared)
    add_adapters(adapted, params, key)
    return adapted


def copy_sharing_frozen(module: Module) -> Module:
    """A deep copy of what learns; frozen weights are the same tensors in both."""
    shared: dict[int, Any] = {
        id(weight): weight for weight in module.parameters() if not weight.requires_grad
    }
    return copy.deepcopy(module, shared)


def learned_weights(module: nn.Module) -> dict[str, Tensor]:
    """What training changes, by name."""
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}


def frozen_names(module: nn.Module, model: nn.Module) -> frozenset[str]:
    """The names in `module` of weights that are frozen in its part `model`, copies' included."""
    frozen = {id(weight) for weight in model.parameters() if not weight.requires_grad}
    return frozenset(
        name
        for name, weight in module.named_parameters(remove_duplicate=False)
        if id(weight) in frozen
    )


@torch.no_grad()
def merge_adapters(module: nn.Module, runs: Sequence[Mapping[str, Tensor]] = ()) -> None:
    """Add the adapters to the weights they stand beside, and take them away.

    The mean over several runs is that of B A, as full weights would be averaged; the mean of A
    and that of B would multiply one run's A with another's B. A weight is rounded once.

    Args:
        module: Its parts may be adapted; a frozen weight is replaced and not written to, since
            others may read it.
        runs: `learned_weights` of every run; none: what the module holds.
    """
    from peft.tuners.lora import LoraLayer

    held = runs or [{name: weight.clone() for name, weight in learned_weights(module).items()}]
    layers: dict[str, Any] = {
        name: part for name, part in module.named_modules() if isinstance(part, LoraLayer)
    }
    for name, layer in layers.items():
        own = learned_weights(layer)
        change: Tensor | None = None
        for run in held:
            for key, weight in own.items():
                weight.copy_(run[f"{name}.{key}"])
            delta = layer.get_delta_weight(_NAME) / len(held)
            change = delta if change is None else change + delta
        base = layer.get_base_layer()
        merged = (base.weight.float() + change).to(base.weight.dtype)
        base.weight = nn.Parameter(merged, requires_grad=False)
        module.set_submodule(name, base)
    for name, weight in learned_weights(module).items():  # heads
        weight.copy_(torch.stack([run[name].to(weight.device) for run in held]).mean(0))
    for part in module.modules():
        if hasattr(part, "peft_config"):
            del part.peft_config
    module.requires_grad_(True)


def facts_of(module: nn.Module, params: AdapterParams) -> Facts:
    """What a card says of training with adapters; nothing without them."""
    if not params.rank:
        return {}
    return {
        "lora_rank": params.rank,
        "lora_alpha": params.alpha,
        "lora_targets": params.targets,
        "trained_weights": sum(weight.numel() for weight in learned_weights(module).values()),
    }


def _targets(model: PreTrainedModel, wanted: str, key: str, whole: Collection[str]) -> list[str]:
    """The full names of the linear layers that `wanted` names.

    Not among them: the projection to the vocabulary, layers that learn whole, and frozen ones.
    """
    projection = model.get_output_embeddings()
    linear = [
        name
        for name, part in model.named_modules()
        if isinstance(part, (nn.Linear, Conv1D))
        and part is not projection
        and part.weight.requires_grad
        and f"{name}.weight" not in whole
    ]
    if wanted == ALL_LINEAR:
        return linear
    known = sorted({name.rpartition(".")[2] for name in linear})
    names = [name.strip() for name in wanted.split(",")]
    for name in names:
        if name not in known:
            raise ParameterError(
                f"{key}.targets names {name!r}, which is no linear layer of a "
                f"{model.config.model_type} model; it has {', '.join(known)}; give some of these, "
                f"or {ALL_LINEAR}"
            )
    return [name for name in linear if name.rpartition(".")[2] in names]
