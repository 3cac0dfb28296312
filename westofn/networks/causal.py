"""Causal language models (Llama, Qwen, Gemma, Mistral, GPT-2) whose K responses share a prompt.

All of a prompt but its last token is read once, and its keys and values are shared by the K
responses: in training (K = 2), in scoring and in sampling (K = N). The last token is what the
first token of every response is predicted from, so it is each row's `start`. This module calls
transformers' own forward with its masks and caches, so weights, configuration and files stay
transformers', and what a type of model adds (sliding windows, soft caps) is its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.cache_utils import DynamicCache

from westofn.networks.network import Generator
from westofn.networks.prefix import KeyValues, growing, key_values, repeat, roomy, select
from westofn.networks.recompute import drops_caches
from westofn.params.network import ModelSize


def build_scratch(
    size: ModelSize, *, vocabulary: int, pad_id: int, eos_id: int, max_tokens: int
) -> LlamaForCausalLM:
    """A Llama (RMSNorm, SwiGLU, RoPE, tied embeddings) from random weights; the caller seeds torch.

    Args:
        size: Its dropout is the attention weights', the only one that a Llama has.
        vocabulary: Number of tokens.
        pad_id: Written into the configuration.
        eos_id: The same.
        max_tokens: The longest row that the model is meant for.
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


@dataclass(frozen=True)
class PrefixStates:
    """P prompts, padded on the left, and what was read of them.

    Attributes:
        ids: (P, S); the last column is each prompt's last token.
        mask: (P, S) bool, True at real tokens.
        prefix: Keys and values of all columns but the last; None where the model must read prompt
            and response in one row.
    """

    ids: Tensor
    mask: Tensor
    prefix: KeyValues | None

    @property
    def start(self) -> Tensor:
        """(P,) each prompt's last token."""
        return self.ids[:, -1]

    @property
    def positions(self) -> Tensor:
        """(P, S) places in the text, from 0; 0 at padding."""
        return (self.mask.long().cumsum(-1) - 1).clamp_min(0)

    def select(self, rows: Tensor) -> PrefixStates:
        """The states of some of the prompts."""
        prefix = None if self.prefix is None else select(self.prefix, rows)
        return PrefixStates(self.ids[rows], self.mask[rows], prefix)


class CausalNetwork(Generator[PrefixStates, "PrefixCache"]):
    """A causal language model over K responses a prompt; holds no weights of its own."""

    family = "causal"

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.base: Any = model.base_model  # untyped, as each type of model has its own
        self.head: Any = model.get_output_embeddings()
        config: Any = model.config
        self.soft_cap: float | None = getattr(config, "final_logit_softcapping", None)
        # Only GPT-2 has a table of positions, which ends.
        table: Any = getattr(self.base, "wpe", None)
        self.max_tokens: int | None = None if table is None else int(table.weight.shape[0])

    @property
    def width(self) -> int:
        """hidden_size."""
        config: Any = self.model.config
        return int(config.hidden_size)

    def prompt_states(self, ids: Tensor, mask: Tensor) -> PrefixStates:
        """Read all but the last token of every prompt.

        Args:
            ids: (P, S) long, right-padded; at least one token each.
            mask: (P, S) bool, True at real tokens.
        """
        states = PrefixStates(*_left_padded(ids, mask), None)
        return states if drops_caches(self.model) else self._read_prefix(states)

    def hidden(self, states: PrefixStates, responses: Tensor) -> Tensor:
        """States of whole responses (teacher forcing).

        Args:
            states: Of P prompts.
            responses: (P, K, T) ids; a row reads [start, y_1 … y_T].

        Returns:
            (P, K, T + 1, d) after the last norm; position t has read y_1 … y_t.
        """
        prompts, per_prompt, length = responses.shape
        start = states.start[:, None, None].expand(prompts, per_prompt, 1)
        rows = torch.cat([start, responses], dim=2).flatten(0, 1)
        before, mask, positions = _beside(states, per_prompt, length + 1)
        if self.max_tokens is not None:
            self._require_room(int(states.mask.sum(-1).min()) + length)
            # Beside another row's longer prompt, a response's padding may lie beyond the table.
            positions = positions.clamp_max(self.max_tokens - 1)
        if states.prefix is None or drops_caches(self.model):
            rows = torch.cat([before, rows], dim=1)
            state = self._read(rows, mask, positions, None)[:, -length - 1 :]
        else:
            cache = growing(states.prefix, per_prompt)
            state = self._read(rows, mask, positions[:, -length - 1 :], cache)
        return state.reshape(prompts, per_prompt, length + 1, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Vocabulary logits of states, (…, d) -> (…, V)."""
        logits: Tensor = self.head(hidden)
        if self.soft_cap is not None:
            logits = (logits / self.soft_cap).tanh() * self.soft_cap
        return logits

    def cache(self, states: PrefixStates, per_prompt: int, max_length: int) -> PrefixCache:
        """Room for the keys and values of prompts and of `max_length` tokens of every row."""
        if states.prefix is None:
            states = self._read_prefix(states)
        return PrefixCache(self, states, per_prompt, max_length)

    def step(self, cache: PrefixCache, tokens: Tensor) -> Tensor:
        """Read one token more for every live row.

        Args:
            cache: The rows' history; it is extended in place.
            tokens: (P, K) the tokens read at this step.

        Returns:
            (P, K, V) logits of the next token.
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
        return self.logits(state).view(*tokens.shape, -1)

    def _read_prefix(self, states: PrefixStates) -> PrefixStates:
        """The same states with keys and values."""
        if states.ids.shape[1] == 1:
            return PrefixStates(states.ids, states.mask, ())
        cache = DynamicCache()
        ids, mask = states.ids[:, :-1], states.mask[:, :-1]
        self._read(ids, mask, states.positions[:, :-1], cache)
        return PrefixStates(states.ids, states.mask, key_values(cache))

    def _read(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        """The base model's last states, (rows, L, d)."""
        state: Tensor = self.base(
            input_ids=ids,
            attention_mask=mask.long(),
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
    """Keys and values of prompts and of what P·K rows have read so far."""

    def __init__(
        self, network: CausalNetwork, states: PrefixStates, per_prompt: int, max_length: int
    ) -> None:
        assert states.prefix is not None
        config: Any = network.model.config
        self.layers = roomy(states.prefix, per_prompt, config.num_hidden_layers, max_length)
        _, self.mask, self.positions = _beside(states, per_prompt, max_length)
        self.length = states.ids.shape[1] - 1

    def keep(self, prompt_rows: Tensor, rows: Tensor) -> None:
        """Drop finished rows: keep these of the P·K rows, in this order."""
        self.layers.keep(rows)
        self.mask, self.positions = self.mask[rows], self.positions[rows]


def _left_padded(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Right-padded ids and mask moved to the right, (P, S) each."""
    width = ids.shape[1]
    place = torch.arange(width, device=ids.device) + mask.sum(-1, keepdim=True) - width
    return ids.gather(1, place.clamp_min(0)), place >= 0


def _beside(states: PrefixStates, per_prompt: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """For P·K rows: the prefix's ids, and mask and positions of it and of `length` tokens."""
    before, mask = repeat(states.ids[:, :-1], per_prompt), repeat(states.mask, per_prompt)
    ones = mask.new_ones(len(mask), length)
    positions = repeat(states.positions, per_prompt)
    after = positions[:, -1:] + torch.arange(length, device=positions.device)
    return (
        before,
        torch.cat([mask[:, :-1], ones], dim=1),
        torch.cat([positions[:, :-1], after], dim=1),
    )
