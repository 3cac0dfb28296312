"""Log-probabilities of continuations under any causal or encoder-decoder language model.

Policies and reward models must have a type in `families`; a judge can be any such model of the hub.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
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
from westofn.networks.weights import check_folder
from westofn.text.encoding import pad
from westofn.text.tokenizer import load_fast_tokenizer

_PADDING = 0  # any id works, because masks mark the padding


@dataclass(frozen=True)
class LanguageModel:
    """A transformers language model with its tokenizer."""

    model: Any  # transformers' auto classes are untyped
    tokenizer: PreTrainedTokenizerFast

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether the encoder reads the context and the decoder the continuation."""
        return bool(self.model.config.is_encoder_decoder)

    @property
    def max_tokens(self) -> int | None:
        """Largest number of tokens that the model's positions allow; None: no limit."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return None if limit is None else int(limit)


def load_language_model(name: str, device: torch.device | str, key: str) -> LanguageModel:
    """Load a pretrained model, in the precision of its checkpoint, and its tokenizer.

    Args:
        name: Folder with config.json and safetensors, or a hub name.
        device: Device of the weights.
        key: Name of the parameter in error messages.

    Raises:
        ModelError: Model or tokenizer cannot be found or read, or the model cannot generate text.
    """
    local = is_local(name, key)
    tokenizer = load_fast_tokenizer(name, key)
    config: Any = load_config(name, key, local)
    require_writer(name, config, key)
    check_folder(name, config)
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
    except Exception as error:  # sizes in config.json that fit nothing raise what torch raises
        reason = str(error).split("\n")[0] or type(error).__name__
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
    """Compute log P(continuation | context) at temperature 1, summed over tokens, in one batch.

    Rows that differ only in their last token share one row of the forward pass.

    Args:
        language_model: Model and tokenizer.
        contexts: Token ids of each context, not empty; an encoder-decoder reads them by its
            encoder.
        continuations: Token ids of each continuation, not empty.

    Returns:
        (rows,) fp32 on the CPU, nats.
    """
    if not all(contexts) or not all(continuations):
        raise ValueError("a context or continuation has no tokens, needs at least one")
    if not contexts:
        return torch.zeros(0)
    heads = [
        (tuple(context), tuple(ids[:-1]))
        for context, ids in zip(contexts, continuations, strict=True)
    ]
    row_of = {head: index for index, head in enumerate(dict.fromkeys(heads))}
    run = _decoder_logits if language_model.is_encoder_decoder else _causal_logits
    logits = run(language_model.model, list(row_of))[[row_of[head] for head in heads]]
    width = logits.shape[1]
    # Logits and targets are right-aligned: the last logits of a row predict its last token.
    targets, mask = _left_padded(continuations, width)
    chosen = chosen_logprobs(logits.float(), targets.to(logits.device)).cpu()
    return chosen.masked_fill(~mask, 0.0).sum(-1)


def _causal_logits(model: Any, heads: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> Tensor:
    """Compute right-aligned logits (rows, T, V) of the tokens after each context."""
    width = 1 + max(len(head) for _, head in heads)
    rows = [(*context, *head) for context, head in heads]
    ids, mask = _left_padded(rows, max(map(len, rows)))
    inputs = {"input_ids": ids, "attention_mask": mask.long()}
    accepted = inspect.signature(model.forward).parameters
    if "position_ids" in accepted:  # other models derive positions from the mask, or ignore it
        inputs["position_ids"] = (mask.long().cumsum(-1) - 1).clamp_min(0)
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    # The logits of all positions of a long batch would not fit into memory.
    keep = {"logits_to_keep": width} if "logits_to_keep" in accepted else {}
    logits: Tensor = model(**inputs, **keep, use_cache=False).logits
    return logits[:, -width:]


def _decoder_logits(model: Any, heads: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> Tensor:
    """Compute right-aligned logits (rows, T, V) of the decoder's tokens."""
    start = int(model.config.decoder_start_token_id)
    encoder = pad([context for context, _ in heads], _PADDING)
    rows = [(start, *head) for _, head in heads]
    decoder = pad(rows, _PADDING)
    logits: Tensor = model(
        input_ids=encoder.ids.to(model.device),
        attention_mask=encoder.mask.long().to(model.device),
        # Right padding needs no mask: no token attends to later tokens.
        decoder_input_ids=decoder.ids.to(model.device),
        use_cache=False,
    ).logits
    width = decoder.ids.shape[1]
    shift = torch.tensor([width - len(row) for row in rows])
    places = (torch.arange(width) - shift[:, None]).clamp_min(0).to(logits.device)
    return logits.gather(1, places.unsqueeze(-1).expand_as(logits))


def _left_padded(rows: Sequence[Sequence[int]], length: int) -> tuple[Tensor, Tensor]:
    """Pad rows on the left; return ids and mask (rows, length)."""
    backwards = pad([list(reversed(row)) for row in rows], _PADDING, length)
    return backwards.ids.flip(-1), backwards.mask.flip(-1)
