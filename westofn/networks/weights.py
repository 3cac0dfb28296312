"""Checks of a model's folder before transformers reads it: its index, and sizes in config.json."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from westofn.errors import ModelError
from westofn.text.model_files import WEIGHTS, no_weights, shards_of

_LAYERS = ("num_hidden_layers", "num_layers", "num_decoder_layers", "n_layer", "n_layers")
_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "d_ff",
    "d_kv",
    "relative_attention_num_buckets",
)
"""Sides of weights, as transformers calls them; config.json may call them otherwise."""
_HEADER_BYTES = 8
"""safetensors begins with the length of its header, little-endian."""


def check_folder(name: str, config: PretrainedConfig) -> None:
    """Refuse a folder whose weights cannot be those of its config.json; nothing large is read.

    Args:
        name: Folder of a model; a name on the hub is not checked.
        config: Its configuration.

    Raises:
        ModelError: There are no safetensors, the index of sharded weights is damaged or names other
            files than safetensors of the folder, or config.json names more layers than there are
            tensors, or a size below 1 or above their numbers.
    """
    folder = Path(name)
    if not folder.is_dir():
        return
    whole = folder / WEIGHTS
    files = [whole] if whole.is_file() else shards_of(folder)
    if not files:
        raise no_weights(name)
    sizes = [size for file in files for size in _tensors(file)]
    limits = {
        **dict.fromkeys(_LAYERS, (len(sizes), "tensors")),
        **dict.fromkeys(_SIZES, (sum(sizes), "numbers")),
    }
    for key, (limit, what) in limits.items():
        size = getattr(config, key, None)
        if isinstance(size, int) and not 0 < size <= limit:
            name_there = config.attribute_map.get(key, key)
            raise ModelError(
                f"{folder / 'config.json'}: {name_there} is {size}, needs a number from 1 to "
                f"{limit}: the weights hold {limit} {what}; give the complete folder of one model"
            )


def _tensors(path: Path) -> list[int]:
    """Numbers in each tensor that the header of a safetensors file names.

    Raises:
        ModelError: There is no such header.
    """
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(_HEADER_BYTES), "little")
            if length > path.stat().st_size:
                raise ValueError("the header is longer than the file")
            header: dict[str, Any] = json.loads(handle.read(length))
        shapes = [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]
        if not all(type(side) is int and side >= 0 for shape in shapes for side in shape):
            raise ValueError("a shape in the header is no list of whole numbers ≥ 0")
        return [math.prod(shape) for shape in shapes]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"weights of {str(path.parent)!r} cannot be loaded: {path.name}: {reason}; give the "
            "complete folder, or rerun the stage that writes it"
        ) from None
