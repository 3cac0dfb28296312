"""Keys and values of prompts, shared by K responses, in transformers' caches.

transformers extends the caches that it is given. So a forward pass over responses gets a new cache
that begins with a copy of the prompt's keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

KeyValues = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of every layer, each (rows, heads, length, head width)."""


def key_values(cache: Any) -> KeyValues:
    """Return the keys and values in a transformers cache."""
    return tuple((layer.keys, layer.values) for layer in cache.layers)


def select(prefix: KeyValues, rows: Tensor) -> KeyValues:
    """Return the given rows."""
    return tuple((keys[rows], values[rows]) for keys, values in prefix)


def repeat(tensor: Tensor, times: int) -> Tensor:
    """Repeat every row `times` times; copies are adjacent."""
    return tensor if times == 1 else tensor.repeat_interleave(times, dim=0)


def growing(prefix: KeyValues, per_prompt: int) -> DynamicCache:
    """Return a cache with every prompt's prefix for each of its K rows, with gradient."""
    cache = DynamicCache()
    for index, (keys, values) in enumerate(prefix):
        cache.update(repeat(keys, per_prompt), repeat(values, per_prompt), index)
    return cache


def roomy(prefix: KeyValues, per_prompt: int, layers: int, length: int) -> RoomyCache:
    """Return a cache like `growing`, preallocated for `length` more tokens, without gradient."""
    cache = RoomyCache(layers, length + (prefix[0][0].shape[2] if prefix else 0))
    for index, (keys, values) in enumerate(prefix):
        cache.update(repeat(keys, per_prompt), repeat(values, per_prompt), index)
    return cache


class _Room(DynamicLayer):
    """Preallocated keys and values of one layer; concatenation would copy all for every token."""

    def __init__(self, length: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.room, self.used = length, 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            rows, heads, _, width = key_states.shape
            self.keys = key_states.new_zeros(rows, heads, self.room, width)
            self.values = value_states.new_zeros(rows, heads, self.room, value_states.shape[-1])
            self.is_initialized = True
        start = self.used
        self.used += key_states.shape[2]
        keys, values = cast(Tensor, self.keys), cast(Tensor, self.values)
        keys[:, :, start : self.used] = key_states
        values[:, :, start : self.used] = value_states
        return keys[:, :, : self.used], values[:, :, : self.used]

    def get_seq_length(self) -> int:
        return self.used

    def keep(self, rows: Tensor) -> None:
        """Keep only the given rows."""
        if self.is_initialized:
            self.keys, self.values = cast(Tensor, self.keys)[rows], cast(Tensor, self.values)[rows]


class RoomyCache(Cache):
    """A preallocated cache for sampling, without gradient."""

    def __init__(self, layers: int, length: int) -> None:
        self.rooms: Sequence[_Room] = [_Room(length) for _ in range(layers)]
        super().__init__(layers=list(self.rooms))

    def keep(self, rows: Tensor) -> None:
        """Keep only the given rows."""
        for room in self.rooms:
            room.keep(rows)
