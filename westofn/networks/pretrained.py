"""Load a pretrained model with its text encoder."""

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
    """Load a pretrained model and its tokenizer; missing weights are random, by torch's seed.

    Args:
        name: Folder with config.json, tokenizer and safetensors, or a hub name.
        key: Name of the parameter in error messages.
        max_prompt_tokens: Largest number of prompt tokens, special tokens included.
        max_response_tokens: Largest number of response tokens, without the end token.
        must_write: Whether the model must generate text.
        responses: Number of responses in a row; the joint comparator reads two.
        chat: Whether to use the model's chat template. A model that need not generate text and has
            no template reads plain prompts.
        precision: Precision of the weights in memory.

    Raises:
        ModelError: Model or tokenizer cannot be loaded or do not belong together, or the limits
            exceed the model's positions.
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
    # BERT's tokenizer has no end token; `Layout.end` defines the token that ends a response.
    tokenizer = load_fast_tokenizer(name, key)
    if tokenizer.pad_token is None:
        raise ModelError(
            f"{name}: the tokenizer has no pad_token, which an encoder-only model needs; name one "
            f"in tokenizer_config.json, or give {key} another model"
        )
    return tokenizer
