"""Which transformers models are known, of which family each is, and how one is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from westofn.errors import ModelError
from westofn.hub import is_local
from westofn.networks import causal, encoder_decoder, encoder_only
from westofn.networks.causal import CausalNetwork
from westofn.networks.encoder_decoder import SharedDecoder
from westofn.networks.network import AnyGenerator, AnyNetwork, Generator
from westofn.params.network import ModelSize
from westofn.text.encoding import Encoder, Family

# Bars for loading and writing a few tensors would drown the stages' own.
transformers_logging.disable_progress_bar()

FAMILY_OF: dict[str, Family] = {
    "t5": "encoder_decoder",
    "llama": "causal",
    "qwen2": "causal",
    "qwen3": "causal",
    "mistral": "causal",
    "gemma": "causal",
    "gemma2": "causal",
    "gemma3_text": "causal",
    "phi3": "causal",
    "gpt2": "causal",
    **dict.fromkeys(encoder_only.LAST_LINEAR, "encoder"),
}
"""transformers' `model_type` -> family."""

_LOADER_OF: dict[Family, Any] = {
    "encoder_decoder": AutoModelForSeq2SeqLM,
    "causal": AutoModelForCausalLM,
}
_NETWORK_OF: dict[str, Callable[[Any], AnyNetwork]] = {
    "t5": SharedDecoder,
    **dict.fromkeys(encoder_only.LAST_LINEAR, encoder_only.EncoderNetwork),
}
# Their angles change with the longest row of a batch, so scores would depend on neighbours.
_UNSTEADY_POSITIONS = ("dynamic", "longrope")


def network_of(model: PreTrainedModel) -> AnyNetwork:
    """The network that walks this model."""
    return _NETWORK_OF.get(model.config.model_type, CausalNetwork)(model)


def generator_of(model: PreTrainedModel) -> AnyGenerator:
    """The network that walks this model, which must be able to write.

    Raises:
        ModelError: The model is encoder-only.
    """
    network = network_of(model)
    if not isinstance(network, Generator):
        raise ModelError(
            f"a {model.config.model_type} model is encoder-only, which cannot write responses; "
            "policies need an encoder-decoder or a causal model"
        )
    return network


def family_of(name: str, config: PretrainedConfig, key: str) -> Family:
    """The family of a model.

    Args:
        name: What a message calls it.
        config: Its configuration.
        key: The parameter that a message says to mend.

    Raises:
        ModelError: It is of none.
    """
    if config.model_type not in FAMILY_OF:
        raise ModelError(
            f"model {name!r} is of family {config.model_type}; supported: {', '.join(FAMILY_OF)}; "
            f"give {key} one of these"
        )
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = {
        str(part.get("rope_type")) for part in (rope, *rope.values()) if isinstance(part, dict)
    }
    if unsteady := kinds & set(_UNSTEADY_POSITIONS):
        raise ModelError(
            f"model {name!r} has rope_type {', '.join(unsteady)}, by which a score depends on the "
            f"longest row of its batch; give {key} a model with another"
        )
    return FAMILY_OF[config.model_type]


def build_scratch(family: str, size: ModelSize, encoder: Encoder) -> PreTrainedModel:
    """A model of random weights for this encoder's tokens; the caller seeds torch."""
    tokens: dict[str, int] = {
        "vocabulary": len(encoder.tokenizer),
        "pad_id": encoder.pad_id,
        "eos_id": encoder.eos_id,
    }
    if family == "encoder_decoder":
        return encoder_decoder.build_scratch(size, **tokens)
    return causal.build_scratch(size, **tokens, max_tokens=encoder.max_tokens)


def load_config(name: str, key: str, local: bool) -> PretrainedConfig:
    """The configuration of a model from a folder or a hub name.

    Args:
        name: Folder or hub name.
        key: The parameter that a message says to mend.
        local: Whether it is read without a network, see `hub.is_local`.

    Raises:
        ModelError: It cannot be read, or it needs code of its own.
    """
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            name, local_files_only=local, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"model {name!r} needs code of its own (auto_map in config.json), which is never "
                f"run; give {key} a model of a type that transformers has"
            ) from None
        reason = str(error).split("\n")[0]
        raise ModelError(
            f"model {name!r} cannot be loaded: {reason}; give {key} a folder with config.json and "
            "model.safetensors, or a hub name that this machine can reach"
        ) from None
    return config


def require_writer(name: str, config: PretrainedConfig, key: str) -> None:
    """Refuse encoders, which transformers would load as causal models that see ahead.

    Args:
        name: What a message calls the model.
        config: Its configuration.
        key: The parameter that a message says to mend.

    Raises:
        ModelError: It is encoder-only.
    """
    if FAMILY_OF.get(config.model_type) == "encoder":
        able = ", ".join(kind for kind, of in FAMILY_OF.items() if of != "encoder")
        raise ModelError(
            f"model {name!r} is a {config.model_type}, which is encoder-only and cannot write "
            f"responses; give {key} one that can, such as {able}; reward models may start from "
            "this one (reward_start.model)"
        )


def load_backbone(
    name: str,
    key: str = "sft.model",
    dtype: torch.dtype = torch.float32,
    *,
    must_write: bool = False,
) -> PreTrainedModel:
    """A model from a folder or a hub name, in safetensors; no code of the folder's own is run.

    Args:
        name: Folder with config.json and safetensors, or a hub name.
        key: The parameter that a message says to mend.
        dtype: Of the weights, whatever the file's.
        must_write: Whether it is to be sampled, which an encoder-only model cannot be.

    Raises:
        ModelError: It cannot be found or reached, it is of no known family, or it cannot write.
    """
    local = is_local(name, key)
    config = load_config(name, key, local)
    family = family_of(name, config, key)
    if must_write:
        require_writer(name, config, key)
    try:
        if family == "encoder":
            return encoder_only.load_classifier(name, local, dtype)
        model: PreTrainedModel = _LOADER_OF[family].from_pretrained(
            name,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=local,
            trust_remote_code=False,
        )
        return model
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).split("\n")[0]
        raise ModelError(
            f"weights of {name!r} cannot be loaded: {reason}; give the whole folder, or rerun the "
            "stage that writes it"
        ) from None
