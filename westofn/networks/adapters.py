"""LoRA (Hu et al. 2021, arXiv 2106.09685): W + (alpha / rank) · B A, where A and B are trained.

Adapters exist only during training. The merged model is saved, so loading does not depend on
adapters, and no head or adapter can get lost (ADR 23). peft is imported only when adapters are
used, because the import is slow.
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
    """Add adapters to linear layers in place and freeze all other weights; the caller seeds torch.

    A is random and B is zero, so the model's outputs do not change. Adapters are always fp32.

    Args:
        model: Model to modify.
        params: Section `lora` with a rank above 0.
        key: Name of the section in error messages.
        whole: Names of weights that are trained without adapter, unless they are frozen already.

    Raises:
        ParameterError: A target is not a linear layer, or the model has adapters already.
    """
    from peft import LoraConfig, inject_adapter_in_model

    trained = {name for name in learned_weights(model) if name in whole}
    config = LoraConfig(
        r=params.rank,
        lora_alpha=params.alpha,  # type: ignore[arg-type]  # peft accepts a float
        lora_dropout=params.dropout if isinstance(params, LoraParams) else 0.0,
        target_modules=_targets(model, params.targets, key, trained),
    )
    with warnings.catch_warnings():
        # peft warns that GPT-2's layers store transposed weights, and handles them.
        warnings.filterwarnings("ignore", message="fan_in_fan_out")
        inject_adapter_in_model(config, model, _NAME)
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name or name in trained)
        if weight.requires_grad:
            weight.data = weight.data.float()


def adapted_copy(model: PreTrainedModel, params: AdapterParams, key: str) -> PreTrainedModel:
    """Return a copy of a model with adapters; it shares the weights of the original.

    Raises:
        ParameterError: See `add_adapters`.
    """
    shared: dict[int, Any] = {
        id(weight): nn.Parameter(weight.detach(), requires_grad=weight.requires_grad)
        for weight in model.parameters()
    }
    adapted = copy.deepcopy(model, shared)
    add_adapters(adapted, params, key)
    return adapted


def copy_sharing_frozen(module: Module) -> Module:
    """Return a deep copy that shares the frozen weights with the original."""
    shared: dict[int, Any] = {
        id(weight): weight for weight in module.parameters() if not weight.requires_grad
    }
    return copy.deepcopy(module, shared)


def learned_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return name -> weight, for the weights that require a gradient."""
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}


def frozen_names(module: nn.Module, model: nn.Module) -> frozenset[str]:
    """Return all names in `module` of the weights that are frozen in its submodule `model`."""
    frozen = {id(weight) for weight in model.parameters() if not weight.requires_grad}
    return frozenset(
        name
        for name, weight in module.named_parameters(remove_duplicate=False)
        if id(weight) in frozen
    )


@torch.no_grad()
def merge_adapters(module: nn.Module, runs: Sequence[Mapping[str, Tensor]] = ()) -> None:
    """Merge the adapters into the weights of their layers and remove them.

    For several runs, the mean of B A is merged, which equals the mean of full weights. Averaging A
    and B separately would mix A of one run with B of another. A weight is rounded once.

    Args:
        module: Module with adapted submodules. Frozen weights are replaced, not modified in place,
            because other modules can share them.
        runs: `learned_weights` of every run; empty: the current weights of the module.
    """
    from peft.tuners.lora import LoraLayer

    run_weights = runs or [
        {name: weight.clone() for name, weight in learned_weights(module).items()}
    ]
    layers: dict[str, Any] = {
        name: part for name, part in module.named_modules() if isinstance(part, LoraLayer)
    }
    for name, layer in layers.items():
        own = learned_weights(layer)
        change: Tensor | None = None
        for run in run_weights:
            for key, weight in own.items():
                weight.copy_(run[f"{name}.{key}"])
            delta = layer.get_delta_weight(_NAME) / len(run_weights)
            change = delta if change is None else change + delta
        base = layer.get_base_layer()
        merged = (base.weight.float() + change).to(base.weight.dtype)
        base.weight = nn.Parameter(merged, requires_grad=False)
        module.set_submodule(name, base)
    for name, weight in learned_weights(module).items():  # heads
        weight.copy_(torch.stack([run[name].to(weight.device) for run in run_weights]).mean(0))
    for part in module.modules():
        if hasattr(part, "peft_config"):
            del part.peft_config
    module.requires_grad_(True)


def facts_of(module: nn.Module, params: AdapterParams) -> Facts:
    """Return the card's facts about adapters; empty without adapters."""
    if not params.rank:
        return {}
    return {
        "lora_rank": params.rank,
        "lora_alpha": params.alpha,
        "lora_targets": params.targets,
        "trained_weights": sum(weight.numel() for weight in learned_weights(module).values()),
    }


def _targets(model: PreTrainedModel, targets: str, key: str, whole: Collection[str]) -> list[str]:
    """Return the full names of the target layers.

    The projection to the vocabulary, layers in `whole` and frozen layers are excluded.
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
    if targets == ALL_LINEAR:
        return linear
    known = sorted({name.rpartition(".")[2] for name in linear})
    names = [name.strip() for name in targets.split(",")]
    for name in names:
        if name not in known:
            raise ParameterError(
                f"{key}.targets contains {name!r}, which is not a linear layer of a "
                f"{model.config.model_type} model; it has {', '.join(known)}; give some of these, "
                f"or {ALL_LINEAR}"
            )
    return [name for name in linear if name.rpartition(".")[2] in names]
