"""T5 with K responses per prompt.

The encoder states and the keys and values of every cross-attention are computed once per prompt
and shared by its K responses, in training (K = 2), in scoring and in sampling (K = N). The module
calls the submodules of transformers' T5 and uses transformers' files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import T5Config, T5ForConditionalGeneration

from westofn.networks.network import Generator
from westofn.networks.recompute import recomputes, run_block
from westofn.networks.sharding import within
from westofn.params.network import ModelSize


def build_scratch(
    size: ModelSize, *, vocabulary: int, pad_id: int, eos_id: int
) -> T5ForConditionalGeneration:
    """Build a T5 v1.1 (gated GELU) with random weights; the caller seeds torch."""
    settings: dict[str, Any] = {
        "vocab_size": vocabulary,
        "d_model": size.width,
        "d_kv": size.width // size.heads,
        "d_ff": size.feed_forward,
        "num_layers": size.layers,
        "num_decoder_layers": size.layers,
        "num_heads": size.heads,
        "dropout_rate": size.dropout,
        "feed_forward_proj": "gated-gelu_pytorch_tanh",  # T5 v1.1's function as a fused operation
        "pad_token_id": pad_id,
        "eos_token_id": eos_id,
        "decoder_start_token_id": pad_id,
    }
    return T5ForConditionalGeneration(T5Config(**settings))


@dataclass(frozen=True)
class PromptStates:
    """Decoder inputs of P prompts: keys and values per layer, and the padding bias.

    Attributes:
        keys: One tensor per decoder layer, (P, heads, S, d_kv).
        values: One tensor per decoder layer, (P, heads, S, d_kv).
        bias: (P, 1, 1, S), 0 at real prompt tokens and −inf at padding.
        start: (P,), the decoder's start token.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    bias: Tensor
    start: Tensor

    def select(self, rows: Tensor) -> PromptStates:
        """Return the states of the prompts at the given rows."""
        return PromptStates(
            tuple(key[rows] for key in self.keys),
            tuple(value[rows] for value in self.values),
            self.bias[rows],
            self.start[rows],
        )


class SharedDecoder(Generator[PromptStates, "StepCache"]):
    """Runs a T5's decoder on K responses per prompt; it has no weights of its own."""

    family = "encoder_decoder"
    model: T5ForConditionalGeneration

    def __init__(self, model: T5ForConditionalGeneration) -> None:
        self.model = model
        config = model.config
        self.head_width = config.d_kv
        self.start_id = int(config.decoder_start_token_id)
        # Any: transformers' blocks have untyped attributes.
        self.stack: Any = model.decoder

    @property
    def width(self) -> int:
        """Width of a hidden state, d_model."""
        return int(self.model.config.d_model)

    def prompt_states(self, ids: Tensor, mask: Tensor) -> PromptStates:
        """Run the encoder and project its states for every cross-attention.

        Args:
            ids: (P, S) long, token ids.
            mask: (P, S) bool, True at real tokens.
        """
        encoded = self.model.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        bias = torch.zeros(mask.shape, dtype=encoded.dtype, device=encoded.device)
        bias = bias.masked_fill(~mask, torch.finfo(encoded.dtype).min)[:, None, None, :]
        # All keys, then all values: the last bits of a training depend on the order of gradients.
        keys, values = (
            tuple(
                within(block, self._projected)(encoded, block, name) for block in self.stack.block
            )
            for name in ("k", "v")
        )
        return PromptStates(keys, values, bias, ids.new_full((len(ids),), self.start_id))

    def _projected(self, encoded: Tensor, block: Any, name: str) -> Tensor:
        """Return keys `k` or values `v` of a block's cross-attention, (P, heads, S, d_kv)."""
        projection = getattr(block.layer[1].EncDecAttention, name)
        return self._heads(projection(encoded)).contiguous()

    def hidden(self, states: PromptStates, responses: Tensor) -> Tensor:
        """Compute the decoder states of complete responses (teacher forcing).

        Args:
            states: States of P prompts.
            responses: (P, K, T), token ids; the decoder reads [start, y_1 … y_T].

        Returns:
            (P, K, T + 1, d_model); position t depends on y_1 … y_t and predicts y_{t+1}.
        """
        prompts, per_prompt, length = responses.shape
        rows = responses.reshape(prompts * per_prompt, length)
        start = rows.new_full((len(rows), 1), self.start_id)
        state = self.stack.embed_tokens(torch.cat([start, rows], dim=1))
        state = self._drop(state)
        length += 1
        bias = self.self_bias(length)
        future = torch.ones(length, length, dtype=torch.bool, device=rows.device).triu(1)
        bias = bias.masked_fill(future, torch.finfo(bias.dtype).min)
        recompute = recomputes(self.model)
        for index, block in enumerate(self.stack.block):
            run = within(block, self._block)
            state = run_block(recompute, run, state, block, states, index, bias)
        state = self._drop(self.stack.final_layer_norm(state))
        return state.view(prompts, per_prompt, length, -1)

    def _block(
        self, state: Tensor, block: Any, states: PromptStates, index: int, bias: Tensor
    ) -> Tensor:
        """Run one decoder layer on complete responses, (P·K, T + 1, d_model) to the same shape."""
        layer = block.layer[0]
        normed, attention = layer.layer_norm(state), layer.SelfAttention
        attended = self._attend(
            self._heads(attention.q(normed)),
            self._heads(attention.k(normed)),
            self._heads(attention.v(normed)),
            bias,
        )
        state = state + self._drop(attention.o(attended))
        state = self._cross(state, block, states, index, states.bias.shape[0])
        result: Tensor = block.layer[2](state)
        return result

    def self_bias(self, length: int) -> Tensor:
        """Relative position bias of the decoder's self-attention, (1, heads, length, length)."""
        block: Any = self.stack.block[0]
        bias: Tensor = within(block, block.layer[0].SelfAttention.compute_bias)(length, length)
        return bias

    def cache(self, states: PromptStates, per_prompt: int, max_length: int) -> StepCache:
        """Allocate a cache for `max_length` tokens of every row."""
        return StepCache(self, states, per_prompt, max_length)

    def cache_bytes(self, prompt: int, rows: int, response: int) -> int:
        """See `Generator.cache_bytes`; the rows share the prompt's keys and values."""
        values = 2 * len(self.stack.block) * self.heads * self.head_width
        return int((prompt + rows * response) * values * self.model.dtype.itemsize)

    def step(self, cache: StepCache, tokens: Tensor) -> Tensor:
        """Decode one token for every live row.

        Args:
            cache: Cache of the rows; it is extended in place.
            tokens: (P, K), the tokens to read.

        Returns:
            (P, K, d_model) states, whose `logits` are of the next token.
        """
        prompts, per_prompt = tokens.shape
        time = cache.length
        state = self.stack.embed_tokens(tokens.reshape(-1, 1))
        bias = cache.bias[:, :, time : time + 1, : time + 1]
        for index, block in enumerate(self.stack.block):
            layer = block.layer[0]
            normed, attention = layer.layer_norm(state), layer.SelfAttention
            keys, values = cache.keys[index], cache.values[index]
            keys[:, :, time : time + 1] = self._heads(attention.k(normed))
            values[:, :, time : time + 1] = self._heads(attention.v(normed))
            attended = self._attend(
                self._heads(attention.q(normed)),
                keys[:, :, : time + 1],
                values[:, :, : time + 1],
                bias,
            )
            state = state + attention.o(attended)
            state = self._cross(state, block, cache.prompts, index, prompts)
            state = block.layer[2](state)
        cache.length += 1
        normed_state: Tensor = self.stack.final_layer_norm(state)
        return normed_state.view(prompts, per_prompt, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Compute vocabulary logits (…, vocabulary) of decoder states (…, d_model)."""
        if self.model.config.scale_decoder_outputs:
            hidden = hidden * self.model.config.d_model**-0.5
        logits: Tensor = self.model.lm_head(hidden)
        return logits

    def _cross(
        self, state: Tensor, block: Any, states: PromptStates, index: int, prompts: int
    ) -> Tensor:
        """Apply cross-attention to P·K rows; the K rows of a prompt share keys and values."""
        layer = block.layer[1]
        attention = layer.EncDecAttention
        rows, length, _ = state.shape
        queries = attention.q(layer.layer_norm(state))
        queries = self._heads(queries.view(prompts, rows // prompts * length, -1))
        attended = self._attend(queries, states.keys[index], states.values[index], states.bias)
        attended = attended.reshape(rows, length, -1)
        return state + self._drop(attention.o(attended))

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        rate = self.stack.dropout.p if self.model.training else 0.0
        attended = scaled_dot_product_attention(
            queries, keys, values, attn_mask=bias.to(queries.dtype), dropout_p=rate, scale=1.0
        )
        return attended.transpose(1, 2).flatten(2)

    def _heads(self, flat: Tensor) -> Tensor:
        """Split heads: (B, L, heads·d_kv) to (B, heads, L, d_kv)."""
        return flat.view(flat.shape[0], -1, self.heads, self.head_width).transpose(1, 2)

    def _drop(self, state: Tensor) -> Tensor:
        return nn.functional.dropout(state, self.stack.dropout.p, self.model.training)


class StepCache:
    """Keys and values of the tokens that P·K rows have read."""

    def __init__(
        self, decoder: SharedDecoder, prompts: PromptStates, per_prompt: int, max_length: int
    ) -> None:
        count, layers = prompts.bias.shape[0], len(prompts.keys)
        like = prompts.keys[0]
        shape = (count * per_prompt, decoder.heads, max_length, decoder.head_width)
        self.prompts = prompts
        self.keys = [like.new_zeros(shape) for _ in range(layers)]
        self.values = [like.new_zeros(shape) for _ in range(layers)]
        self.bias = decoder.self_bias(max_length)
        self.length = 0

    def keep(self, prompt_rows: Tensor, rows: Tensor) -> None:
        """Drop finished rows: keep the given prompts and the given ones of the P·K rows."""
        self.prompts = self.prompts.select(prompt_rows)
        self.keys = [key[rows] for key in self.keys]
        self.values = [value[rows] for value in self.values]
