"""Pretrained models that params.yaml names, judged by their small files.

A name that is no folder is looked up in the hub's cache; what the hub alone knows is not foreseen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from westofn.errors import ModelError
from westofn.params.reward_start import OF_PIPELINE
from westofn.params.whole import Params
from westofn.text.model_files import (
    INDEX,
    TOKENIZER_FILES,
    WEIGHTS,
    Family,
    encoder_cannot_value,
    family_of_type,
    is_adapter,
    needs_code,
    no_chat_template,
    no_tokenizer,
    no_weights,
    require_causal,
    require_positions,
    require_writer_type,
    shards_of,
)

_ADAPTER = "adapter_config.json"
_CHAT_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_POSITIONS = ("max_position_embeddings", "n_positions")
_HEADS = (("hidden_size", "num_attention_heads"), ("n_embd", "n_head"), ("dim", "n_heads"))
_ROBERTA_RESERVES = 2
"""Positions of a RoBERTa that no token has: those up to the padding's."""


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model whose configuration this machine has.

    Attributes:
        name: Folder or hub name.
        key: The parameter that names it.
        config: Content of config.json.
        family: Family of the model.
    """

    name: str
    key: str
    config: Mapping[str, Any]
    family: Family

    @property
    def positions(self) -> int | None:
        """Number of positions of a row; None: not limited, or not stated."""
        if self.config.get("position_biased_input") is False:  # a DeBERTa's are relative
            return None
        given = next((self.config[name] for name in _POSITIONS if name in self.config), None)
        if not isinstance(given, int):
            return None
        return given - (_ROBERTA_RESERVES if self.config.get("model_type") == "roberta" else 0)


def require_models(params: Params) -> Pretrained | None:
    """Refuse models that a later stage would refuse, and return that in which students start.

    It is None for a model from scratch, and for one that only the hub has.

    Raises:
        ModelError: A model is not there, is incomplete, or does not fit other parameters.
    """
    policy = start = None
    responses = 2 if params.base_rm.comparator == "joint" else 1
    limits = params.sft.max_prompt_tokens, params.sft.max_response_tokens
    if params.sft.model != "scratch":
        policy = _pretrained(params.sft.model, "sft.model")
        if policy:
            require_writer_type(policy.name, str(policy.config["model_type"]), policy.key)
            if params.sft.chat_template == "model":
                _require_chat_template(policy)
    if params.sample.engine == "vllm":
        family = params.sft.scratch.family if params.sft.model == "scratch" else None
        require_causal(policy.family if policy else family, "sft.model")
    if params.reward_start.model not in OF_PIPELINE:
        start = _pretrained(params.reward_start.model, "reward_start.model")
    if start and start.family == "encoder" and params.rlhf.algorithm == "ppo":
        raise encoder_cannot_value(str(start.config["model_type"]))
    for model, rows in ((policy, 1), (start or policy, responses)):
        if model:
            require_positions(model.positions, model.family, limits, model.name, model.key, rows)
    if params.study.judge.kind == "llm":
        config_of(params.study.judge.prompted.model, "study.judge.prompted.model")
    return start or policy


def config_of(name: str, key: str) -> Mapping[str, Any] | None:
    """Return what a model's config.json holds; None where only the hub has it.

    Args:
        name: Folder or hub name.
        key: The parameter that names it.

    Raises:
        ModelError: There is no such folder, file or name, or the file cannot be read.
    """
    folder = Path(name)
    if folder.exists() and not folder.is_dir():
        raise ModelError(f"model {name!r} is a file; give {key} the folder that holds it")
    if folder.is_dir():
        path = folder / "config.json"
    else:
        from huggingface_hub import try_to_load_from_cache

        from westofn.hub import is_local

        is_local(name, key)
        cached = try_to_load_from_cache(name, "config.json")
        if not isinstance(cached, str):
            return None
        path = Path(cached)
    wanted = f"give {key} a folder with config.json and model.safetensors"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"model {name!r} has no config.json; {wanted}") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path} cannot be read ({reason}); {wanted}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{path} holds {type(config).__name__}, needs an object; {wanted}")
    return config


def _pretrained(name: str, key: str) -> Pretrained | None:
    config = config_of(name, key)
    if config is None:
        return None
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise ModelError(
            f"model {name!r} has no model_type in config.json; give {key} a folder that "
            "transformers wrote"
        )
    rope = config.get("rope_parameters") or config.get("rope_scaling")
    rope = rope if isinstance(rope, Mapping) else {}  # transformers refuses anything else
    try:
        family = family_of_type(name, model_type, rope, key)
    except ModelError:
        if "auto_map" in config:
            raise needs_code(name, key) from None
        raise
    _require_heads(name, config, key)
    _require_complete(name, key)
    return Pretrained(name, key, config, family)


def _require_heads(name: str, config: Mapping[str, Any], key: str) -> None:
    for width, heads in _HEADS:
        sizes = config.get(width), config.get(heads)
        if not all(isinstance(size, int) for size in sizes) or config.get("head_dim"):
            continue
        if not sizes[1] or sizes[0] % sizes[1]:
            raise ModelError(
                f"model {name!r} has {width} {sizes[0]}, which is no multiple of {heads} "
                f"{sizes[1]}; copy its config.json again, or give {key} another model"
            )


def _require_complete(name: str, key: str) -> None:
    """Refuse a folder without weights or without tokenizer."""
    folder = Path(name)
    if not folder.is_dir():
        return  # a name on the hub, whose other files may still come
    if (folder / _ADAPTER).is_file():
        raise is_adapter(name, key)
    if not any((folder / file).is_file() for file in (WEIGHTS, INDEX)):
        raise no_weights(name)
    if not (folder / WEIGHTS).is_file():
        shards_of(folder)
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise no_tokenizer(name)


def _require_chat_template(model: Pretrained) -> None:
    folder = Path(model.name)
    if not folder.is_dir() or any((folder / file).is_file() for file in _CHAT_TEMPLATES):
        return
    try:
        text = (folder / "tokenizer_config.json").read_text(encoding="utf-8")
        has_template = bool(json.loads(text).get("chat_template"))
    except FileNotFoundError:
        has_template = False
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        path = folder / "tokenizer_config.json"
        raise ModelError(f"{path} cannot be read ({error}); copy the folder again") from None
    if not has_template:
        raise no_chat_template(model.key)
