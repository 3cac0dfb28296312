"""Keys and values of prompts that K responses share, in transformers' caches and attention.

transformers extends the caches that it is given. With a gradient, a forward pass over responses
gets a new cache that begins with a copy of the prompt's keys and values for every response
(`growing`). Without one, a prompt's keys and values exist once (`SharedPrefix`): the queries of its
K responses attend to them together, and to the keys of their own row apart, under one softmax
(cascade attention: arXiv 2402.05099, Hydragen).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.masking_utils import sdpa_mask

KeyValues = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of every layer, each (rows, heads, length, head width)."""

SHARED = "shared_prefix"
"""Name of the attention of `SharedPrefix` in transformers' registries."""
MOST_SCORES = 2**22
"""Attention scores that exist at a time, at most, unless one prompt has more: 16 MiB in fp32."""


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


class _Layer(DynamicLayer):
    """A layer's keys and values: the prompts' once, and preallocated ones of P·K rows."""

    def __init__(self, prefix: tuple[Tensor, Tensor] | None, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.prefix, self.room, self.used = prefix, room, 0

    @property
    def before(self) -> int:
        """Tokens of a prompt."""
        return 0 if self.prefix is None else self.prefix[0].shape[2]

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Add tokens and return the rows' own keys and values, without the prompts'."""
        length = key_states.shape[2]
        if length == self.room:  # there will be no more, so nothing is kept
            self.used = length
            return key_states, value_states
        if not self.is_initialized:
            self.is_initialized = True
            rows, heads, _, width = key_states.shape
            self.keys = key_states.new_zeros(rows, heads, self.room, width)
            self.values = value_states.new_zeros(rows, heads, self.room, value_states.shape[-1])
        start = self.used
        self.used += length
        keys, values = cast(Tensor, self.keys), cast(Tensor, self.values)
        keys[:, :, start : self.used] = key_states
        values[:, :, start : self.used] = value_states
        return keys[:, :, : self.used], values[:, :, : self.used]

    def get_seq_length(self) -> int:
        return self.before + self.used

    def keep(self, prompts: Tensor, rows: Tensor) -> None:
        """Keep only the given prompts and the given rows."""
        if self.prefix is not None:
            self.prefix = (self.prefix[0][prompts], self.prefix[1][prompts])
        if self.is_initialized:
            self.keys, self.values = cast(Tensor, self.keys)[rows], cast(Tensor, self.values)[rows]


class SharedPrefix(Cache):
    """A cache of P prompts and P·K rows, without gradient.

    Args:
        prefix: Keys and values of the prompts, (P, …); empty if there are none.
        layers: Number of layers.
        room: Tokens that a row can have.
    """

    def __init__(self, prefix: KeyValues, layers: int, room: int) -> None:
        parts: Sequence[tuple[Tensor, Tensor] | None] = prefix or [None] * layers
        self.rooms = [_Layer(part, room) for part in parts]
        super().__init__(layers=list(self.rooms))

    def keep(self, prompts: Tensor, rows: Tensor) -> None:
        """Keep only the given prompts and the given rows; every prompt keeps equally many."""
        for room in self.rooms:
            room.keep(prompts, rows)

    @contextmanager
    def attended_by(self, model: Any) -> Iterator[None]:
        """Let a model's attention read this cache within the context."""
        usual = model.config._attn_implementation
        token = _CACHE.set(self)
        model.config._attn_implementation = SHARED
        try:
            yield
        finally:
            model.config._attn_implementation = usual
            _CACHE.reset(token)


_CACHE: ContextVar[SharedPrefix] = ContextVar("_CACHE")


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of P·K rows to their prompt and to their own tokens, as transformers calls it.

    Args:
        module: The attention layer.
        query: (P·K, heads, L, width).
        key: (P·K, key heads, T, width), of the rows' own tokens.
        value: The same of the values.
        attention_mask: (P·K, 1, L, S + T) bool, True where a token is read; None: everywhere. Own
            tokens are masked alike in all rows.
        scaling: Factor of the scores; None: 1 / sqrt(width).
        softcap: Scores become softcap · tanh(score / softcap).

    Returns:
        (P·K, L, heads, width), and None instead of the weights.
    """
    layer = _CACHE.get().rooms[cast(int, module.layer_idx)]
    rows, heads, length, width = query.shape
    groups = heads // key.shape[1]  # query heads that share a key head
    scores = _Scores(width**-0.5 if scaling is None else scaling, softcap)
    # Autocast leaves rotated queries and keys in fp32, and so transformers' cache the values.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if layer.prefix is not None:
        layer.prefix = (layer.prefix[0].to(value.dtype), layer.prefix[1].to(value.dtype))
    queries = query.reshape(rows, -1, groups * length, width)
    own_mask = None if attention_mask is None else attention_mask[:1, :, :, layer.before :]
    attended, weight = scores.attend(queries, key, value, _for_groups(own_mask, groups))
    if layer.prefix is not None:
        prompts = len(layer.prefix[0])
        per_prompt = rows // prompts
        mask = None
        if attention_mask is not None:
            mask = attention_mask[::per_prompt, :, :, : layer.before]
            if length > 1 and bool((mask == mask[:, :, :1]).all()):
                mask = mask[:, :, :1]  # no window: all tokens of a row read the same
        together = queries.view(prompts, per_prompt, *queries.shape[1:]).transpose(1, 2)
        of_prompt, prompt_weight = scores.attend(
            together.flatten(2, 3), *layer.prefix, _for_groups(mask, per_prompt * groups)
        )
        shape = (prompts, -1, per_prompt, groups * length)
        of_prompt = of_prompt.reshape(*shape, width).transpose(1, 2).reshape(attended.shape)
        prompt_weight = prompt_weight.reshape(shape).transpose(1, 2).reshape(weight.shape)
        share = (prompt_weight - weight).sigmoid().unsqueeze(-1)
        attended = torch.lerp(attended.float(), of_prompt.float(), share).to(query.dtype)
    return attended.reshape(rows, heads, length, width).transpose(1, 2), None


def _for_groups(mask: Tensor | None, groups: int) -> Tensor | None:
    """A mask (…, L, S) for queries that are `groups` times L."""
    return mask if mask is None or mask.shape[2] == 1 else mask.repeat(1, 1, groups, 1)


@dataclass(frozen=True)
class _Scores:
    """Attention to some of the keys.

    Attributes:
        scale: Factor of the scores.
        softcap: Scores become softcap · tanh(score / softcap); None leaves them.
    """

    scale: float
    softcap: float | None

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Attend to these keys, and say how much they weigh beside others.

        Args:
            query: (rows, heads, L, width).
            key: (rows, heads, S, width).
            value: The same of the values.
            mask: Broadcast to (rows, heads, L, S) bool, True where a key is read.

        Returns:
            (rows, heads, L, width) attended values, and (rows, heads, L) logarithms of the sum of
            exponentials of the scores, fp32. A query that reads no key has the smallest number.
        """
        bias = None
        if mask is not None:
            lowest = torch.finfo(query.dtype).min
            bias = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, lowest)
        if self.softcap is None and _has_fused(query.device):
            attended, weight = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                query, key, value, 0.0, False, attn_mask=bias, scale=self.scale
            )
            return attended, weight
        rows, heads, length, _ = query.shape
        most = max(1, MOST_SCORES // (heads * length * key.shape[2]))
        parts = []
        for start in range(0, rows, most):
            part = slice(start, start + most)
            own = bias if bias is None or len(bias) == 1 else bias[part]
            parts.append(self._by_products(query[part], key[part], value[part], own))
        attended, weight = zip(*parts, strict=True)
        return torch.cat(attended), torch.cat(weight)

    def _by_products(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What `attend` returns, by plain products of matrices."""
        scores = (query @ key.mT).float() * self.scale
        if self.softcap is not None:
            scores = (scores / self.softcap).tanh() * self.softcap
        if bias is not None:
            scores = scores + bias
        return scores.softmax(-1).to(value.dtype) @ value, scores.logsumexp(-1)


def _has_fused(device: torch.device) -> bool:
    """Whether torch has one operation there that returns both attended values and weights."""
    return device.type == "cpu"


def _mask(**sizes: Any) -> Tensor | None:
    """The mask of `_attend`: transformers' own, and none only where all tokens are read."""
    return sdpa_mask(**sizes | {"allow_is_causal_skip": sizes["q_length"] == 1})


AttentionInterface.register(SHARED, _attend)
AttentionMaskInterface.register(SHARED, _mask)
