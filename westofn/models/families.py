"""Which transformers models are known, of which family each is, and how one is loaded."""

from __future__ import annotations

from safetensors import SafetensorError
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, T5ForConditionalGeneration
from transformers.utils import logging as transformers_logging

from westofn.errors import ModelError
from westofn.models.encoder_decoder import SharedDecoder
from westofn.models.hub import is_local
from westofn.models.network import AnyGenerator, AnyNetwork, Family, Generator

# Bars for loading and writing a few tensors would drown the stages' own.
transformers_logging.disable_progress_bar()

FAMILY_OF: dict[str, Family] = {"t5": "encoder_decoder"}
"""transformers' `model_type` -> family."""


def network_of(model: PreTrainedModel) -> AnyNetwork:
    """The network that walks this model."""
    assert isinstance(model, T5ForConditionalGeneration)
    return SharedDecoder(model)


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
    return FAMILY_OF[config.model_type]


def load_backbone(name: str, key: str = "sft.model") -> PreTrainedModel:
    """A model from a folder or a hub name, in safetensors.

    Args:
        name: Folder with config.json and safetensors, or a hub name.
        key: The parameter that a message says to mend.

    Raises:
        ModelError: It cannot be found or reached, or it is of no known family.
    """
    local = is_local(name, key)
    try:
        config = AutoConfig.from_pretrained(name, local_files_only=local)
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise ModelError(
            f"model {name!r} cannot be loaded: {reason}; give a folder with config.json and "
            "model.safetensors, or a hub name that this machine can reach"
        ) from None
    family_of(name, config, key)
    try:
        return T5ForConditionalGeneration.from_pretrained(
            name, use_safetensors=True, local_files_only=local
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).split("\n")[0]
        raise ModelError(
            f"weights of {name!r} cannot be loaded: {reason}; give the whole folder, or rerun the "
            "stage that writes it"
        ) from None
