"""Whether ppo can make its value network of a reward model, known before anything is trained.

It reads the policy's tokens one by one with the reward model's weights.
"""

from __future__ import annotations

from westofn.errors import ModelError
from westofn.hub import is_local
from westofn.networks.families import family_of, load_config
from westofn.text.encoding import vocabulary_digest
from westofn.text.tokenizer import load_fast_tokenizer


def require_value_start(start: str, policy: str) -> None:
    """Refuse a `reward_start.model` that cannot follow the policy under ppo, by its files.

    Of a policy from scratch the tokenizer is not there yet; then the family alone is looked at.

    Args:
        start: `reward_start.model`.
        policy: `sft.model`.

    Raises:
        ModelError: The start is encoder-only or has another tokenizer than `sft.model`, or one of
            them cannot be found or reached.
    """
    if start in ("policy", "scratch"):
        return
    key = "reward_start.model"
    config = load_config(start, key, is_local(start, key))
    if family_of(start, config, key) == "encoder":
        raise encoder_only(config.model_type)
    if policy != "scratch":
        ours = vocabulary_digest(load_fast_tokenizer(policy, "sft.model"))
        require_same_tokens(ours, vocabulary_digest(load_fast_tokenizer(start, key)))


def encoder_only(model_type: str) -> ModelError:
    """What is wrong with an encoder."""
    return ModelError(
        f"rlhf: the reward model is an encoder-only {model_type}, "
        "of which ppo can make no value network: it needs one that reads from left to right; "
        "set rlhf.algorithm to rloo, or reward_start.model to policy"
    )


def require_same_tokens(ours: str, theirs: str) -> None:
    """Refuse a reward model of another vocabulary than the policy's.

    Args:
        ours: The policy's, see `encoding.vocabulary_digest`.
        theirs: The reward model's.

    Raises:
        ModelError: They differ.
    """
    if ours != theirs:
        raise ModelError(
            f"rlhf: the policy's vocabulary is {ours}, the reward model's {theirs}; ppo needs one: "
            "set reward_start.model to policy, or rlhf.algorithm to rloo"
        )
