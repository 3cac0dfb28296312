"""What the files of a pretrained model tell without torch: its family, positions and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from westofn.errors import ModelError

Family = Literal["encoder_decoder", "causal", "encoder"]
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
    "bert": "encoder",
    "deberta-v2": "encoder",
    "distilbert": "encoder",
    "electra": "encoder",
    "modernbert": "encoder",
    "roberta": "encoder",
}
"""transformers' `model_type` -> family."""

WEIGHTS = "model.safetensors"
ENDING = ".safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "spiece.model", "spm.model", "vocab.txt", "vocab.json")
PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
"""Endings of weights that are pickles."""
# These rotary embeddings depend on the longest row of a batch, so scores would depend on the batch.
_UNSTEADY_POSITIONS = ("dynamic", "longrope")


def family_of_type(name: str, model_type: str, rope: Mapping[str, Any], key: str) -> Family:
    """Return the family of a model.

    Args:
        name: Name of the model in error messages.
        model_type: transformers' name of the architecture.
        rope: Settings of its rotary embeddings, of all layers or by their type; may be empty.
        key: Name of the parameter in error messages.

    Raises:
        ModelError: The model has no supported family.
    """
    if model_type not in FAMILY_OF:
        raise ModelError(
            f"model {name!r} is of family {model_type}; supported: {', '.join(FAMILY_OF)}; "
            f"give {key} one of these"
        )
    parts = [part for part in (rope, *rope.values()) if isinstance(part, Mapping)]
    kinds = {str(part.get("rope_type") or part.get("type")) for part in parts}
    if unsteady := kinds & set(_UNSTEADY_POSITIONS):
        raise ModelError(
            f"model {name!r} has rope_type {', '.join(unsteady)}, which makes a score depend on "
            f"the longest row of its batch; give {key} a model with another rope_type"
        )
    return FAMILY_OF[model_type]


def require_writer_type(name: str, model_type: str, key: str) -> None:
    """Refuse encoder-only models, which transformers would load as causal models.

    Args:
        name: Name of the model in error messages.
        model_type: transformers' name of the architecture.
        key: Name of the parameter in error messages.

    Raises:
        ModelError: The model is encoder-only.
    """
    if FAMILY_OF.get(model_type) == "encoder":
        able = ", ".join(kind for kind, of in FAMILY_OF.items() if of != "encoder")
        raise ModelError(
            f"model {name!r} is a {model_type}, which is encoder-only and cannot generate "
            f"responses; give {key} a model that can, such as {able}; reward models can start from "
            "this model (reward_start.model)"
        )


def require_causal(family: Family | None, name: str) -> None:
    """Refuse a policy that vLLM does not run.

    Args:
        family: Family of the policy; None: not known yet.
        name: Name of the model in error messages.

    Raises:
        ModelError: It is of another family than causal.
    """
    if family not in (None, "causal"):
        raise ModelError(
            f"{name}: sample.engine is vllm, which runs causal models, and the policy's family is "
            f"{family}; set sample.engine to local, or give sft.model a causal model"
        )


def needs_code(name: str, key: str, where: str = "auto_map") -> ModelError:
    """Return the error for a model that brings its own code, or names code of the hub."""
    return ModelError(
        f"model {name!r} needs custom code ({where} in config.json), which is never run; give "
        f"{key} a model of a type that transformers has"
    )


def no_weights(name: str) -> ModelError:
    """Return the error for a folder without safetensors."""
    pickles = sorted({path.suffix for path in Path(name).iterdir()} & PICKLED)
    also = f", and {', '.join(pickles)} can run code, so is never read" if pickles else ""
    return ModelError(
        f"weights of {name!r} cannot be loaded: the folder has no model.safetensors{also}; give "
        "the complete folder, with safetensors, or rerun the stage that writes it"
    )


def is_adapter(name: str, key: str) -> ModelError:
    """Return the error for an adapter, which names another model."""
    return ModelError(
        f"model {name!r} is an adapter (adapter_config.json), whose base model would be read from "
        f"elsewhere; merge it (`merge_and_unload` of peft), save it, and give {key} that folder"
    )


def no_tokenizer(name: str) -> ModelError:
    """Return the error for a folder without TOKENIZER_FILES."""
    return ModelError(
        f"tokenizer of {name!r} cannot be loaded: the folder has none of "
        f"{', '.join(TOKENIZER_FILES)}; copy the file that belongs to the model"
    )


def no_chat_template(key: str) -> ModelError:
    """Return the error for a tokenizer without the chat template that a parameter asks for."""
    return ModelError(
        "sft.chat_template is model, but the model's tokenizer has no chat template; set "
        f"sft.chat_template to none, or give {key} an instruct model"
    )


def encoder_cannot_value(model_type: str) -> ModelError:
    """Return the error for an encoder-only reward model under ppo."""
    return ModelError(
        f"rlhf: the reward model is an encoder-only {model_type}, but ppo's value network must "
        "read from left to right; "
        "set rlhf.algorithm to rloo, or reward_start.model to policy"
    )


def require_positions(
    positions: int | None,
    family: Family,
    limits: tuple[int, int],
    name: str,
    key: str,
    responses: int = 1,
) -> None:
    """Refuse a model with fewer positions than the longest row has tokens.

    Args:
        positions: Number of positions of the model; None: no limit.
        family: Family of the model.
        limits: `sft.max_prompt_tokens` and `sft.max_response_tokens`.
        name: Name of the model in error messages.
        key: Name of the parameter in error messages.
        responses: Number of responses in a row; the joint comparator reads two.

    Raises:
        ModelError: There are too few positions.
    """
    prompt, response = limits
    answers = responses * (response + 1)
    row = prompt + answers
    if family == "encoder_decoder":  # prompt and responses are separate rows
        row = max(prompt, answers + 2)  # a decoder reads two tokens before a response
    if positions is None or row <= positions:
        return
    each = "" if responses == 1 else f"{responses} × "
    raise ModelError(
        f"model {name!r} has positions for {positions} tokens, the limits allow rows of "
        f"{row}: sft.max_prompt_tokens {prompt}, {each}(sft.max_response_tokens {response} + 1); "
        f"lower them, or give {key} a model with more positions"
    )


def shards_of(folder: Path) -> list[Path]:
    """Return the files of weights that the index of a folder names; none without an index.

    Raises:
        ModelError: The index is damaged, or names files that the folder does not hold.
    """
    path = folder / INDEX
    if not path.exists():
        return []
    try:
        shards = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(shards.values()))
        if not names:
            raise ValueError("weight_map is empty")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path} is damaged ({type(error).__name__}: {error}), needs an object weight_map of "
            "file names; give the complete folder of a model"
        ) from None
    files = {file.name for file in folder.iterdir() if file.is_file()}
    for shard in names:
        if not isinstance(shard, str) or Path(shard).name != shard or Path(shard).suffix != ENDING:
            raise ModelError(
                f"{path}: weight_map names {shard!r}, needs the name of a file in this folder that "
                f"ends with {ENDING}; give the complete folder of a model"
            )
        if shard not in files:
            raise ModelError(
                f"{path}: weight_map names {shard}, which is not in the folder; copy it there"
            )
    return [folder / shard for shard in names]
