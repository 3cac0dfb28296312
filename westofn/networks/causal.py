"""Causal language models (Llama, Qwen, Gemma, Mistral, GPT-2) with K responses per prompt.

The network reads all tokens of a prompt except the last once, and the K responses share the keys
and values, in scoring and in sampling (K = N). Every row starts with the prompt's last token, from
which the first response token is predicted. In training, a prompt and its responses are one row if
they are short, [prompt, y_1, …, y_K], in which no response reads another one (arXiv 2410.20305).
Else the responses share copies of the prompt's keys and values. The module calls
transformers' own forward with its masks and caches, so it supports the features of each model type
(sliding windows, soft caps) and transformers' files.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache

from westofn.networks.network import Generator
from westofn.networks.prefix import KeyValues, SharedPrefix, growing, key_values, repeat, select
from westofn.networks.recompute import drops_caches
from westofn.networks.sharding import is_sharded
from westofn.params.network import ModelSize


def build_scratch(
    size: ModelSize, *, vocabulary: int, pad_id: int, eos_id: int, max_tokens: int
) -> LlamaForCausalLM:
    """Build a Llama (RMSNorm, SwiGLU, RoPE, tied embeddings) with random weights.

    The caller seeds torch.

    Args:
        size: Size of the model; the dropout rate is that of attention weights.
        vocabulary: Number of tokens.
        pad_id: Padding token in the configuration.
        eos_id: End token in the configuration.
        max_tokens: Largest number of tokens in a row.
    """
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=size.width,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=max_tokens,
        attention_dropout=size.dropout,
        tie_word_embeddings=True,
        pad_token_id=pad_id,
        bos_token_id=eos_id,
        eos_token_id=eos_id,
    )
    return LlamaForCausalLM(config)


MOST_BRANCHED = 256
"""Tokens of a prompt and its responses in one row; of more, the scores cost more than copies."""


@dataclass(frozen=True)
class PrefixStates:
    """P left-padded prompts with their keys and values.

    Attributes:
        ids: (P, S), token ids; the last column is each prompt's last token.
        mask: (P, S) bool, True at real tokens.
        prefix: Keys and values of all columns except the last; None if the model reads prompt and
            responses together.
    """

    ids: Tensor
    mask: Tensor
    prefix: KeyValues | None

    @property
    def start(self) -> Tensor:
        """Last token of each prompt, (P,)."""
        return self.ids[:, -1]

    @property
    def positions(self) -> Tensor:
        """Positions in the text from 0, (P, S); 0 at padding."""
        return (self.mask.long().cumsum(-1) - 1).clamp_min(0)

    def select(self, rows: Tensor) -> PrefixStates:
        """Return the states of the prompts at the given rows."""
        prefix = None if self.prefix is None else select(self.prefix, rows)
        return PrefixStates(self.ids[rows], self.mask[rows], prefix)


class CausalNetwork(Generator[PrefixStates, "PrefixCache"]):
    """Runs a causal language model on K responses per prompt; it has no weights of its own."""

    family = "causal"

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.base: Any = model.base_model  # its type depends on the model
        self.head: Any = model.get_output_embeddings()
        config: Any = model.config
        self.soft_cap: float | None = getattr(config, "final_logit_softcapping", None)
        # Only GPT-2 has a position table of limited length.
        table: Any = getattr(self.base, "wpe", None)
        self.max_tokens: int | None = None if table is None else int(table.weight.shape[0])

    @property
    def width(self) -> int:
        """Width of a hidden state."""
        config: Any = self.model.config
        return int(config.hidden_size)

    def prompt_states(self, ids: Tensor, mask: Tensor) -> PrefixStates:
        """Compute keys and values of all prompt tokens except the last; in training, `hidden` does.

        Args:
            ids: (P, S) long, right-padded token ids, at least one token each.
            mask: (P, S) bool, True at real tokens.
        """
        states = PrefixStates(*_left_padded(ids, mask), None)
        return self._read_prefix(states) if not self._trains() and self._caches() else states

    def hidden(self, states: PrefixStates, responses: Tensor) -> Tensor:
        """Compute the hidden states of complete responses (teacher forcing).

        Args:
            states: States of P prompts.
            responses: (P, K, T), token ids; a row reads [start, y_1 … y_T].

        Returns:
            (P, K, T + 1, d) states after the last norm; position t depends on y_1 … y_t.
        """
        prompts, per_prompt, length = responses.shape
        if self.max_tokens is not None:
            self._require_room(int(states.mask.sum(-1).min()) + length)
        if states.prefix is None and per_prompt > 1 and self._branches(states, responses):
            return self._read_branches(states, responses)
        if states.prefix is None and per_prompt > 1 and self._caches():
            states = self._read_prefix(states)
        start = states.start[:, None, None].expand(prompts, per_prompt, 1)
        rows = torch.cat([start, responses], dim=2).flatten(0, 1)
        prefix_ids, mask, positions = _beside(states, per_prompt, length + 1)
        positions = self._within_table(positions)
        if states.prefix is None or drops_caches(self.model):
            rows = torch.cat([prefix_ids, rows], dim=1)
            state = self._read(rows, mask, positions, None)[:, -length - 1 :]
        else:
            with_gradient = torch.is_grad_enabled() or self.model.training  # training drops weights
            cache = (
                growing(states.prefix, per_prompt)
                if with_gradient
                else self._shared(states.prefix, length + 1)
            )
            state = self._read(rows, mask, positions[:, -length - 1 :], cache)
        return state.reshape(prompts, per_prompt, length + 1, -1)

    def _trains(self) -> bool:
        """Return whether the states are for a step of training."""
        return self.model.training and torch.is_grad_enabled()

    def _caches(self) -> bool:
        """Return whether responses can read a prompt's keys and values from a cache.

        The gradient that a cache passes to a sharded layer would come after the layer has dropped
        its weights.
        """
        passes_gradient = torch.is_grad_enabled() and is_sharded(self.model)
        return not passes_gradient and not drops_caches(self.model)

    def _branches(self, states: PrefixStates, responses: Tensor) -> bool:
        """Return whether a prompt and its responses can be one row, see `_read_branches`."""
        config: Any = self.model.config
        window = getattr(config, "sliding_window", None)
        length = states.ids.shape[1] + responses.shape[1] * responses.shape[2]
        return (
            config._attn_implementation == "sdpa"  # which takes any mask
            and length <= min(MOST_BRANCHED, window or MOST_BRANCHED)
        )

    def _read_branches(self, states: PrefixStates, responses: Tensor) -> Tensor:
        """Return what `hidden` does, from rows [prompt, y_1, …, y_K]."""
        prompts, per_prompt, length = responses.shape
        first = states.ids.shape[1]
        after = states.positions[:, -1:] + 1 + torch.arange(length, device=responses.device)
        positions = torch.cat([states.positions, after.repeat(1, per_prompt)], dim=1)
        state = self._read(
            torch.cat([states.ids, responses.flatten(1)], dim=1),
            _branch_mask(states.mask, per_prompt, length),
            self._within_table(positions),
            None,
        )
        own = state[:, first:].view(prompts, per_prompt, length, -1)
        start = state[:, None, first - 1 : first].expand(-1, per_prompt, -1, -1)
        return torch.cat([start, own], dim=2)

    def _within_table(self, positions: Tensor) -> Tensor:
        """Padding of a response can exceed a position table if another row has a longer prompt."""
        return positions if self.max_tokens is None else positions.clamp_max(self.max_tokens - 1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Compute vocabulary logits (…, V) of states (…, d)."""
        logits: Tensor = self.head(hidden)
        if self.soft_cap is not None:
            logits = (logits / self.soft_cap).tanh() * self.soft_cap
        return logits

    def cache(self, states: PrefixStates, per_prompt: int, max_length: int) -> PrefixCache:
        """Allocate a cache for prompts and for `max_length` tokens of every row."""
        if states.prefix is None:
            states = self._read_prefix(states)
        return PrefixCache(self, states, per_prompt, max_length)

    def cache_bytes(self, prompt: int, rows: int, response: int) -> int:
        """See `Generator.cache_bytes`; the rows share the prompt's keys and values."""
        config: Any = self.model.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or self.width // config.num_attention_heads
        values = 2 * config.num_hidden_layers * heads * width
        return int((prompt + rows * response) * values * self.model.dtype.itemsize)

    def step(self, cache: PrefixCache, tokens: Tensor) -> Tensor:
        """Read one more token for every live row.

        Args:
            cache: Cache of the rows; it is extended in place.
            tokens: (P, K), the tokens to read.

        Returns:
            (P, K, d) states, whose `logits` are of the next token.
        """
        end = cache.length + 1
        self._require_room(end)
        state = self._read(
            tokens.reshape(-1, 1),
            cache.mask[:, :end],
            cache.positions[:, end - 1 : end],
            cache.layers,
        )
        cache.length = end
        return state.view(*tokens.shape, -1)

    def _read_prefix(self, states: PrefixStates) -> PrefixStates:
        """Return the states with keys and values."""
        if states.ids.shape[1] == 1:
            return PrefixStates(states.ids, states.mask, ())
        cache = DynamicCache()
        ids, mask = states.ids[:, :-1], states.mask[:, :-1]
        self._read(ids, mask, states.positions[:, :-1], cache)
        return PrefixStates(states.ids, states.mask, key_values(cache))

    def _shared(self, prefix: KeyValues, room: int) -> SharedPrefix:
        config: Any = self.model.config
        return SharedPrefix(prefix, config.num_hidden_layers, room)

    def _read(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache | None) -> Tensor:
        """Return the base model's last hidden states, (rows, L, d).

        The mask is of real tokens, (rows, L), or of what each token reads, (rows, 1, L, L).
        """
        attended = (
            cache.attended_by(self.base) if isinstance(cache, SharedPrefix) else nullcontext()
        )
        with attended:
            state: Tensor = self.base(
                input_ids=ids,
                attention_mask=mask.long() if mask.ndim == 2 else mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=cache is not None,
            ).last_hidden_state
        return state

    def _require_room(self, tokens: int) -> None:
        self.require_positions(
            tokens,
            f"a prompt and its response have {tokens} tokens",
            "; lower sft.max_prompt_tokens or shorten the responses",
        )


class PrefixCache:
    """Keys and values of prompts and of the tokens that P·K rows have read."""

    def __init__(
        self, network: CausalNetwork, states: PrefixStates, per_prompt: int, max_length: int
    ) -> None:
        assert states.prefix is not None
        self.layers = network._shared(states.prefix, max_length)
        _, self.mask, self.positions = _beside(states, per_prompt, max_length)
        self.length = states.ids.shape[1] - 1

    def keep(self, prompt_rows: Tensor, rows: Tensor) -> None:
        """Drop finished rows: keep the given prompts and the given ones of the P·K rows."""
        self.layers.keep(prompt_rows, rows)
        self.mask, self.positions = self.mask[rows], self.positions[rows]


def _left_padded(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Convert right-padded ids and mask to left-padded ones, (P, S) each."""
    width = ids.shape[1]
    source = torch.arange(width, device=ids.device) + mask.sum(-1, keepdim=True) - width
    return ids.gather(1, source.clamp_min(0)), source >= 0


def _branch_mask(prompt: Tensor, branches: int, length: int) -> Tensor:
    """What each token reads in rows [prompt, y_1, …, y_K], (P, 1, L, L) bool.

    A token of a response reads the prompt and its own response up to itself.

    Args:
        prompt: (P, S) bool, True at the prompt's real tokens.
        branches: K.
        length: Tokens of a response.
    """
    first = prompt.shape[1]
    size = first + branches * length
    place = torch.arange(size, device=prompt.device)
    branch = (place - first).div(length, rounding_mode="floor").clamp_min(-1)
    of_prompt = branch == -1
    together = of_prompt | (branch[:, None] == branch)
    reads = together & (place[:, None] >= place)
    real = torch.nn.functional.pad(prompt, (0, size - first), value=True)
    itself = torch.eye(size, dtype=torch.bool, device=prompt.device)  # also padding reads something
    return ((reads & real[:, None, :]) | itself).unsqueeze(1)


def _beside(states: PrefixStates, per_prompt: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the prefix ids, and mask and positions of prefix and `length` tokens, for P·K rows."""
    prefix_ids, mask = repeat(states.ids[:, :-1], per_prompt), repeat(states.mask, per_prompt)
    ones = mask.new_ones(len(mask), length)
    positions = repeat(states.positions, per_prompt)
    after = positions[:, -1:] + torch.arange(length, device=positions.device)
    return (
        prefix_ids,
        torch.cat([mask[:, :-1], ones], dim=1),
        torch.cat([positions[:, :-1], after], dim=1),
    )
