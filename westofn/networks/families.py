"""Supported transformers models, their families, and loading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging
from transformers.utils.peft_utils import find_adapter_config_file

from westofn.errors import ModelError
from westofn.hub import is_local
from westofn.networks import causal, encoder_decoder, encoder_only
from westofn.networks.causal import CausalNetwork
from westofn.networks.encoder_decoder import SharedDecoder
from westofn.networks.network import AnyGenerator, AnyNetwork, Generator
from westofn.networks.weights import check_folder
from westofn.params.network import ModelSize
from westofn.text.encoding import Encoder
from westofn.text.model_files import (
    Family,
    family_of_type,
    is_adapter,
    needs_code,
    require_writer_type,
)

# Progress bars of transformers would hide the stages' progress.
transformers_logging.disable_progress_bar()

_LOADER_OF: dict[Family, Any] = {
    "encoder_decoder": AutoModelForSeq2SeqLM,
    "causal": AutoModelForCausalLM,
}
_NETWORK_OF: dict[str, Callable[[Any], AnyNetwork]] = {
    "t5": SharedDecoder,
    **dict.fromkeys(encoder_only.LAST_LINEAR, encoder_only.EncoderNetwork),
}


def network_of(model: PreTrainedModel) -> AnyNetwork:
    """Return the network of a model."""
    return _NETWORK_OF.get(model.config.model_type, CausalNetwork)(model)


def generator_of(model: PreTrainedModel) -> AnyGenerator:
    """Return the network of a model that generates text.

    Raises:
        ModelError: The model is encoder-only.
    """
    network = network_of(model)
    if not isinstance(network, Generator):
        raise ModelError(
            f"a {model.config.model_type} model is encoder-only, which cannot generate responses; "
            "policies need an encoder-decoder or a causal model"
        )
    return network


def family_of(name: str, config: PretrainedConfig, key: str) -> Family:
    """Return the family of a model.

    Args:
        name: Name of the model in error messages.
        config: Configuration of the model.
        key: Name of the parameter in error messages.

    Raises:
        ModelError: The model has no supported family.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    return family_of_type(name, config.model_type, rope, key)


def build_scratch(family: str, size: ModelSize, encoder: Encoder) -> PreTrainedModel:
    """Build a model with random weights for the encoder's tokens; the caller seeds torch."""
    tokens: dict[str, int] = {
        "vocabulary": len(encoder.tokenizer),
        "pad_id": encoder.pad_id,
        "eos_id": encoder.eos_id,
    }
    if family == "encoder_decoder":
        return encoder_decoder.build_scratch(size, **tokens)
    return causal.build_scratch(size, **tokens, max_tokens=encoder.max_tokens)


def load_config(name: str, key: str, local: bool) -> PretrainedConfig:
    """Load the configuration of a model.

    Args:
        name: Folder or hub name.
        key: Name of the parameter in error messages.
        local: Whether to load without a network, see `hub.is_local`.

    Raises:
        ModelError: The configuration cannot be read, the model needs custom code, or it is an
            adapter.
    """
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            name, local_files_only=local, trust_remote_code=False
        )
    except Exception as error:  # a wrong type in config.json raises what each class raises
        if "trust_remote_code" in str(error):
            raise needs_code(name, key) from None
        reason = str(error).split("\n")[0]
        where = "" if "config.json" in reason else "config.json: "
        raise ModelError(
            f"model {name!r} cannot be loaded: {where}{reason}; give {key} a folder with "
            "config.json and model.safetensors, or a hub name that this machine can reach"
        ) from None
    attention = config._attn_implementation
    if isinstance(attention, str) and "/" in attention:  # a kernel on the hub
        raise needs_code(name, key, "attn_implementation")
    if find_adapter_config_file(name, local_files_only=local):
        raise is_adapter(name, key)
    return config


def require_writer(name: str, config: PretrainedConfig, key: str) -> None:
    """Refuse encoder-only models, which transformers would load as causal models.

    Args:
        name: Name of the model in error messages.
        config: Configuration of the model.
        key: Name of the parameter in error messages.

    Raises:
        ModelError: The model is encoder-only.
    """
    require_writer_type(name, config.model_type, key)


def load_backbone(
    name: str,
    key: str = "sft.model",
    dtype: torch.dtype = torch.float32,
    *,
    must_write: bool = False,
) -> PreTrainedModel:
    """Load a model from a folder or the hub; needs safetensors and runs no custom code.

    Args:
        name: Folder with config.json and safetensors, or a hub name.
        key: Name of the parameter in error messages.
        dtype: dtype of the loaded weights.
        must_write: Whether the model must generate text, which an encoder-only model cannot.

    Raises:
        ModelError: The model cannot be loaded, has no supported family, or cannot generate text.
    """
    local = is_local(name, key)
    config = load_config(name, key, local)
    family = family_of(name, config, key)
    if must_write:
        require_writer(name, config, key)
    check_folder(name, config)
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
    except ModelError:
        raise
    except Exception as error:  # sizes in config.json that fit nothing raise what torch raises
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ModelError(
            f"weights of {name!r} cannot be loaded: {reason}; give the complete folder, or rerun "
            "the stage that writes it"
        ) from None
