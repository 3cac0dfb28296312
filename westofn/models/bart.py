"""BART, whose K responses share a prompt's encoding.

The encoder, and the keys and values of every cross-attention, are computed once a prompt; the
decoder is transformers' own. It was trained to read its start token and then `<s>` before a text,
so that is what stands before a response.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import BartForConditionalGeneration
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from westofn.errors import ModelError
from westofn.models.network import Generator
from westofn.models.prefix import KeyValues, growing, repeat, roomy, select
from westofn.models.recompute import drops_caches


@dataclass(frozen=True)
class EncodedPrompts:
    """What the decoder needs of P prompts.

    Attributes:
        encoded: (P, S, d).
        mask: (P, S) bool, True at real tokens.
        cross: Keys and values of every cross-attention.
        start: (P,) the token read before a response's first.
    """

    encoded: Tensor
    mask: Tensor
    cross: KeyValues
    start: Tensor

    def select(self, rows: Tensor) -> EncodedPrompts:
        """The states of some of the prompts."""
        return EncodedPrompts(
            self.encoded[rows], self.mask[rows], select(self.cross, rows), self.start[rows]
        )


class BartNetwork(Generator[EncodedPrompts, "BartCache"]):
    """A BART over K responses a prompt; holds no weights of its own.

    Raises:
        ModelError: The configuration drops layers at random, which caches cannot follow.
    """

    family = "encoder_decoder"
    model: BartForConditionalGeneration
    max_tokens: int

    def __init__(self, model: BartForConditionalGeneration) -> None:
        self.model = model
        config: Any = model.config
        if config.decoder_layerdrop:
            raise ModelError(
                f"a bart with decoder_layerdrop {config.decoder_layerdrop:g} in its config.json, "
                "needs 0; set it there"
            )
        self.decoder: Any = model.model.decoder
        self.heads = config.decoder_attention_heads
        self.max_tokens = int(config.max_position_embeddings)
        self.before = (int(config.decoder_start_token_id), int(config.bos_token_id))

    @property
    def width(self) -> int:
        """d_model."""
        config: Any = self.model.config
        return int(config.d_model)

    def prompt_states(self, ids: Tensor, mask: Tensor) -> EncodedPrompts:
        """Run the encoder and project its states for every cross-attention.

        Args:
            ids: (P, S) long, right-padded.
            mask: (P, S) bool, True at real tokens.
        """
        self._require_room("a prompt", ids.shape[1])
        encoder: Any = self.model.model.encoder
        encoded: Tensor = encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        cross = [layer.encoder_attn for layer in self.decoder.layers]
        pairs = tuple(
            (self._heads(layer.k_proj(encoded)), self._heads(layer.v_proj(encoded)))
            for layer in cross
        )
        return EncodedPrompts(encoded, mask, pairs, ids.new_full((len(ids),), self.before[1]))

    def hidden(self, states: EncodedPrompts, responses: Tensor) -> Tensor:
        """Decoder states of whole responses (teacher forcing).

        Args:
            states: Of P prompts.
            responses: (P, K, T) ids; the decoder reads its two first tokens and y_1 … y_T.

        Returns:
            (P, K, T + 1, d); position t has read y_1 … y_t.
        """
        prompts, per_prompt, length = responses.shape
        rows = responses.flatten(0, 1)
        first = rows.new_tensor(self.before).expand(len(rows), 2)
        rows = torch.cat([first, rows], dim=1)
        self._require_room("a response", rows.shape[1])
        encoded, mask = repeat(states.encoded, per_prompt), repeat(states.mask, per_prompt)
        cache = None  # the decoder projects the encoding again
        if not drops_caches(self.model):
            cache = EncoderDecoderCache(DynamicCache(), growing(states.cross, per_prompt))
        state = self._read(rows, encoded, mask, cache)[:, 1:]
        return state.reshape(prompts, per_prompt, length + 1, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Vocabulary logits of decoder states, (…, d) -> (…, V)."""
        model: Any = self.model
        logits: Tensor = model.lm_head(hidden) + model.final_logits_bias.squeeze(0)
        return logits

    def cache(self, states: EncodedPrompts, per_prompt: int, max_length: int) -> BartCache:
        """Room for the keys and values of `max_length` tokens of every row."""
        cache = BartCache(states, per_prompt, max_length + 1)
        first = states.start.new_full((len(states.start) * per_prompt, 1), self.before[0])
        self._read(first, cache.encoded, cache.mask, cache.layers)
        return cache

    def step(self, cache: BartCache, tokens: Tensor) -> Tensor:
        """Decode one token for every live row.

        Args:
            cache: The rows' history; it is extended in place.
            tokens: (P, K) the tokens read at this step.

        Returns:
            (P, K, V) logits of the next token.
        """
        self._require_room("a response", cache.layers.get_seq_length() + 1)
        state = self._read(tokens.reshape(-1, 1), cache.encoded, cache.mask, cache.layers)
        return self.logits(state).view(*tokens.shape, -1)

    def _read(self, ids: Tensor, encoded: Tensor, mask: Tensor, cache: Any) -> Tensor:
        """The decoder's last states, (rows, L, d)."""
        state: Tensor = self.decoder(
            input_ids=ids,
            encoder_hidden_states=encoded,
            encoder_attention_mask=mask.long(),
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        return state

    def _heads(self, flat: Tensor) -> Tensor:
        """(P, S, d) -> (P, heads, S, d / heads)."""
        return flat.view(*flat.shape[:-1], self.heads, -1).transpose(1, 2)

    def _require_room(self, what: str, tokens: int) -> None:
        self.require_positions(
            tokens,
            f"{what} has {tokens} tokens with its special ones",
            "; lower sft.max_prompt_tokens or shorten the responses",
        )


class BartCache:
    """What P·K rows have read so far, and their prompts' cross-attention."""

    def __init__(self, states: EncodedPrompts, per_prompt: int, max_length: int) -> None:
        self.cross = growing(states.cross, per_prompt)
        self.own = roomy((), per_prompt, len(states.cross), max_length)
        self.layers = EncoderDecoderCache(self.own, self.cross)
        self.mask = repeat(states.mask, per_prompt)
        # Cached keys and values stand in for these, so only their count is read.
        self.encoded = states.encoded.new_empty(*self.mask.shape, 0)

    def keep(self, prompt_rows: Tensor, rows: Tensor) -> None:
        """Drop finished rows: keep these of the P·K rows, in this order."""
        self.own.keep(rows)
        self.cross.batch_select_indices(rows)
        self.mask, self.encoded = self.mask[rows], self.encoded[rows]
