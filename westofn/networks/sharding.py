"""Fully sharded data parallelism (torch's FSDP2): every process keeps a part of each weight.

A process gathers a layer's whole weights when the layer's forward starts and drops them when it
ends, and again in the backward pass. Weights outside of layers (embeddings, last norm, heads) are
one group, which the forward of the trained module gathers. Code that runs a part of a layer without
calling its forward uses `within`, and code that calls networks outside of the trained module's
forward uses `gathered`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from westofn.errors import ModelError

Result = TypeVar("Result")
Module = TypeVar("Module", bound=nn.Module)


def shard(module: nn.Module, device: torch.device, groups: Sequence[nn.Module] = ()) -> Any:
    """Shard a module in place over all processes, layer by layer, and return it.

    Layers are the blocks of transformers' models. accelerate is not asked for this, since it shards
    on a GPU only.

    Args:
        module: A module whose forward is what trains.
        device: Kind of device of the processes.
        groups: Parts of the module that its forward does not read; each is gathered on its own.

    Raises:
        ModelError: transformers marks no blocks of a model in the module.
    """
    for model in module.modules():
        if isinstance(model, PreTrainedModel) and not any(map(_is_layer, model.modules())):
            raise ModelError(
                f"strategy is fsdp, and transformers marks no layers of a "
                f"{model.config.model_type} model; set strategy to ddp in runtime.toml"
            )
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for part in [*filter(_is_layer, module.modules()), *groups]:
        fully_shard(part, mesh=mesh)
    return fully_shard(module, mesh=mesh)


def is_sharded(module: nn.Module) -> bool:
    """Return whether layers of the module are sharded."""
    return any(isinstance(part, FSDPModule) for part in module.modules())


def within(layer: nn.Module, function: Callable[..., Result]) -> Callable[..., Result]:
    """Return the function as one that runs with the layer's whole weights, like its forward.

    Args:
        layer: The layer whose weights the function reads; if it is not sharded, the function is
            returned as it is.
        function: Tensors among its positional arguments and results may have a gradient.
    """
    if not isinstance(layer, FSDPModule):
        return function
    sharded: Any = layer
    if "run_part" not in vars(sharded):
        sharded.run_part = _call
        register_fsdp_forward_method(sharded, "run_part")
    return partial(sharded.run_part, function)


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Gather the weights outside of layers within the context, to compute without gradient."""
    groups = [
        part for part in module.modules() if isinstance(part, FSDPModule) and not _is_layer(part)
    ]
    for group in groups:
        group.unshard()
    try:
        yield
    finally:
        for group in groups:
            group.reshard()


def whole(value: Any, kept: bool = True) -> Any:
    """Return whole tensors on the CPU in place of sharded ones, in nested dictionaries and lists.

    Args:
        value: State of modules or optimisers; all processes call the function with theirs.
        kept: Whether this process needs the tensors; else it takes part and gets empty ones.
    """
    if isinstance(value, dict):
        return {key: whole(entry, kept) for key, entry in value.items()}
    if isinstance(value, list):
        return [whole(entry, kept) for entry in value]
    if not isinstance(value, DTensor):
        return value
    with torch.no_grad():
        tensor = value.full_tensor()
    return tensor.cpu() if kept else torch.empty(0)


def own_part(weight: Tensor) -> Tensor:
    """Return this process's part of a sharded weight, in the same memory; others as they are."""
    return weight.to_local() if isinstance(weight, DTensor) else weight


def part_of(value: Tensor, like: Tensor) -> Tensor:
    """Return this process's part of a whole tensor, if `like` is sharded."""
    if not isinstance(like, DTensor):
        return value
    value = value.to(like.device, like.dtype)
    # No source: every process has the value and takes its part without communication.
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


@torch.no_grad()
def load_whole(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy whole weights into a sharded module; names that the mapping lacks keep their values."""
    for name, weight in module.state_dict().items():
        if name in weights:
            weight.copy_(part_of(weights[name], weight))


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load an optimiser's whole state, as `whole(optimiser.state_dict())` returns it."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    parts = {
        index: {
            key: part_of(value, weights[index]) if value.shape == weights[index].shape else value
            for key, value in moments.items()
        }
        for index, moments in state["state"].items()
    }
    optimiser.load_state_dict({**state, "state": parts})


def hollow_copy(module: Module) -> Module:
    """Return a copy whose weights have shapes but no values, see `fill`; buffers are copied."""
    hollow: dict[int, Any] = {
        id(weight): nn.Parameter(torch.empty_like(weight, device="meta"), weight.requires_grad)
        for weight in module.parameters()
    }
    return copy.deepcopy(module, hollow)


def fill(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give the weights of a `hollow_copy` their values; shared weights stay shared."""
    named = list(module.named_parameters(remove_duplicate=False))
    filled: dict[int, nn.Parameter] = {}
    for name, weight in named:
        new = filled.setdefault(id(weight), nn.Parameter(weights[name], weight.requires_grad))
        place, _, own = name.rpartition(".")
        setattr(module.get_submodule(place), own, new)


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, GradientCheckpointingLayer)


def _call(function: Callable[..., Result], *inputs: Any) -> Result:
    return function(*inputs)
