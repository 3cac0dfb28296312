"""A pretrained model together with the encoder of text that belongs to it."""

from __future__ import annotations

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from westofn.errors import ModelError
from westofn.networks.families import load_backbone, network_of
from westofn.networks.limits import require_room
from westofn.networks.network import AnyNetwork
from westofn.networks.precision import DTYPES
from westofn.params.network import Precision
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import load_fast_tokenizer, load_pretrained_tokenizer


def load_pretrained(
    name: str,
    key: str,
    *,
    max_prompt_tokens: int,
    max_response_tokens: int,
    must_write: bool = False,
    responses: int = 1,
    chat: bool = False,
    precision: Precision = "fp32",
) -> tuple[PreTrainedModel, Encoder]:
    """A pretrained model with its own tokenizer; where weights are missing, torch's seed decides.

    Args:
        name: Folder with config.json, tokenizer and safetensors, or a hub name.
        key: The parameter that a message says to mend.
        max_prompt_tokens: Of this tokenizer, special ones included.
        max_response_tokens: Of this tokenizer, the end token not counted.
        must_write: Whether it is to be sampled.
        responses: Responses that stand in one row; the joint comparator reads two.
        chat: Whether prompts are written in its own chat template. What need not write reads them
            as they are where it has none.
        precision: Of the weights in memory.

    Raises:
        ModelError: Model or tokenizer cannot be loaded or do not belong together, or its positions
            end before the limits.
    """
    model = load_backbone(name, key, DTYPES[precision], must_write=must_write)
    network = network_of(model)
    tokenizer = _tokenizer_for(network, name, key)
    if len(tokenizer) > network.vocabulary:
        raise ModelError(
            f"model {name!r} has embeddings for {network.vocabulary} tokens, its tokenizer has "
            f"{len(tokenizer)}; give {key} a folder whose files belong together"
        )
    has_template = network.family == "causal" and bool(tokenizer.chat_template)
    encoder = Encoder(
        tokenizer,
        max_prompt_tokens,
        max_response_tokens,
        network.family,
        chat=chat and (must_write or has_template),
        key=key,
    )
    require_room(network, encoder, name, key, responses)
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
