"""A pretrained model together with the encoder of text that belongs to it."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from westofn.errors import ModelError
from westofn.models.encoding import Encoder
from westofn.models.families import load_backbone, network_of, require_positions
from westofn.models.network import AnyNetwork
from westofn.models.tokenizer import load_fast_tokenizer, load_pretrained_tokenizer


def load_pretrained(
    name: str,
    key: str,
    *,
    max_prompt_tokens: int,
    max_response_tokens: int,
    dtype: torch.dtype = torch.float32,
    chat: bool = False,
    must_write: bool = False,
) -> tuple[PreTrainedModel, Encoder]:
    """A pretrained model with its own tokenizer; where weights are missing, torch's seed decides.

    Args:
        name: Folder with config.json, tokenizer and safetensors, or a hub name.
        key: The parameter that a message says to mend.
        max_prompt_tokens: Of this tokenizer, special ones included.
        max_response_tokens: Of this tokenizer, the end token not counted.
        dtype: Of the weights.
        chat: Whether prompts are written in the tokenizer's chat template; what does not write
            reads them plainly where its family has none.
        must_write: Whether it is to be sampled.

    Raises:
        ModelError: Model or tokenizer cannot be loaded or do not belong together, or the model's
            positions end before the limits.
    """
    model = load_backbone(name, key, dtype, must_write=must_write)
    network = network_of(model)
    tokenizer = _tokenizer_for(network, name, key)
    if len(tokenizer) > network.vocabulary:
        raise ModelError(
            f"model {name!r} has embeddings for {network.vocabulary} tokens, its tokenizer has "
            f"{len(tokenizer)}; give {key} a folder whose files belong together"
        )
    chat = chat and (must_write or network.family == "causal")
    encoder = Encoder(tokenizer, max_prompt_tokens, max_response_tokens, network.family, chat=chat)
    require_positions(model, encoder)
    return model, encoder


def _tokenizer_for(network: AnyNetwork, name: str, key: str) -> PreTrainedTokenizerFast:
    if network.family != "encoder":
        return load_pretrained_tokenizer(name, key)
    # BERT's has no end token; which token ends a response, its layout says.
    tokenizer = load_fast_tokenizer(name, key)
    if tokenizer.pad_token is None:
        raise ModelError(
            f"{name}: the tokenizer has no pad_token, which an encoder-only model needs; name one "
            f"in tokenizer_config.json, or give {key} another model"
        )
    return tokenizer
