"""Any causal or encoder-decoder language model, and what it thinks of continuations.

Policies and reward models are of the types in `families`; a judge may be whatever the hub holds.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedTokenizerFast,
)

from westofn.core.logprobs import chosen_logprobs
from westofn.errors import ModelError
from westofn.hub import is_local
from westofn.networks.families import load_config, require_writer
from westofn.text.encoding import pad
from westofn.text.tokenizer import load_fast_tokenizer

_PADDING = 0  # any id will do: what is padding is said by masks alone


@dataclass(frozen=True)
class LanguageModel:
    """A transformers language model with the tokenizer that belongs to it."""

    model: Any  # transformers' auto classes are untyped
    tokenizer: PreTrainedTokenizerFast

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether the context is encoded, and only the continuation decoded."""
        return bool(self.model.config.is_encoder_decoder)

    @property
    def max_tokens(self) -> int | None:
        """The longest input that its positions allow; None: relative positions, no limit."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return None if limit is None else int(limit)


def load_language_model(name: str, device: torch.device | str, key: str) -> LanguageModel:
    """A pretrained model in its checkpoint's own precision, and its tokenizer.

    Args:
        name: Folder with config.json and safetensors, or a hub name.
        device: Where the weights go.
        key: The parameter that a message says to mend.

    Raises:
        ModelError: Model or tokenizer cannot be found, reached or read, or it generates no text.
    """
    local = is_local(name, key)
    tokenizer = load_fast_tokenizer(name, key)
    config: Any = load_config(name, key, local)
    require_writer(name, config, key)
    try:
        family = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model: Any = family.from_pretrained(
            name,
            config=config,
            dtype="auto",
            use_safetensors=True,
            local_files_only=local,
            trust_remote_code=False,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).split("\n")[0]
        raise ModelError(
            f"model {name!r} cannot be loaded: {reason}; give {key} a causal or encoder-decoder "
            "language model with safetensors"
        ) from None
    return LanguageModel(model.to(device).eval(), tokenizer)


@torch.inference_mode()
def continuation_logprobs(
    language_model: LanguageModel,
    contexts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
) -> Tensor:
    """Log P(continuation | context) at temperature 1, summed over its tokens, in one batch.

    Rows that differ only in their last token share a forward pass, so two answers of one token
    each cost one.

    Args:
        language_model: The model.
        contexts: Token ids of each row, not empty; for an encoder-decoder the encoder's input.
        continuations: Token ids of each row, not empty.

    Returns:
        (rows,) fp32 on the CPU.
    """
    if not all(contexts) or not all(continuations):
        raise ValueError("a context or continuation has no tokens, needs at least one")
    if not contexts:
        return torch.zeros(0)
    heads = [
        (tuple(context), tuple(ids[:-1]))
        for context, ids in zip(contexts, continuations, strict=True)
    ]
    place = {head: index for index, head in enumerate(dict.fromkeys(heads))}
    run = _decoder_logits if language_model.is_encoder_decoder else _causal_logits
    logits = run(language_model.model, list(place))[[place[head] for head in heads]]
    width = logits.shape[1]
    # The last logits of a row predict its last token: targets are right-aligned, as logits are.
    targets, mask = _left_padded(continuations, width)
    chosen = chosen_logprobs(logits.float(), targets.to(logits.device)).cpu()
    return chosen.masked_fill(~mask, 0.0).sum(-1)


def _causal_logits(model: Any, heads: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> Tensor:
    """Logits of the tokens after each context, right-aligned, (rows, T, V)."""
    width = 1 + max(len(head) for _, head in heads)
    rows = [(*context, *head) for context, head in heads]
    ids, mask = _left_padded(rows, max(map(len, rows)))
    inputs = {"input_ids": ids, "attention_mask": mask.long()}
    accepted = inspect.signature(model.forward).parameters
    if "position_ids" in accepted:  # else it counts padding, or takes positions from the mask
        inputs["position_ids"] = (mask.long().cumsum(-1) - 1).clamp_min(0)
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    # All logits of a long batch would not fit: a position has as many as there are tokens.
    some = {"logits_to_keep": width} if "logits_to_keep" in accepted else {}
    logits: Tensor = model(**inputs, **some, use_cache=False).logits
    return logits[:, -width:]


def _decoder_logits(model: Any, heads: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> Tensor:
    """Logits of the decoder's tokens, right-aligned, (rows, T, V)."""
    start = int(model.config.decoder_start_token_id)
    encoder = pad([context for context, _ in heads], _PADDING)
    rows = [(start, *head) for _, head in heads]
    decoder = pad(rows, _PADDING)
    logits: Tensor = model(
        input_ids=encoder.ids.to(model.device),
        attention_mask=encoder.mask.long().to(model.device),
        # Padding on the right needs no mask here: no token looks to its right.
        decoder_input_ids=decoder.ids.to(model.device),
        use_cache=False,
    ).logits
    width = decoder.ids.shape[1]
    shift = torch.tensor([width - len(row) for row in rows])
    places = (torch.arange(width) - shift[:, None]).clamp_min(0).to(logits.device)
    return logits.gather(1, places.unsqueeze(-1).expand_as(logits))


def _left_padded(rows: Sequence[Sequence[int]], length: int) -> tuple[Tensor, Tensor]:
    """Ids and mask (rows, length), padded on the left."""
    backwards = pad([list(reversed(row)) for row in rows], _PADDING, length)
    return backwards.ids.flip(-1), backwards.mask.flip(-1)
