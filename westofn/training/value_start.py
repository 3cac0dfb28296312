"""Early check whether a reward model can initialise PPO's value network.

The value network reads the policy's tokens from left to right with the reward model's weights.
"""

from __future__ import annotations

from westofn.errors import ModelError
from westofn.hub import is_local
from westofn.networks.families import family_of, load_config
from westofn.text.encoding import vocabulary_digest
from westofn.text.model_files import encoder_cannot_value
from westofn.text.tokenizer import load_fast_tokenizer


def require_value_start(start: str, policy: str) -> None:
    """Refuse a `reward_start.model` that cannot initialise ppo's value network.

    If the policy starts from scratch, its tokenizer does not exist yet; then only the family is
    checked.

    Args:
        start: Value of `reward_start.model`.
        policy: Value of `sft.model`.

    Raises:
        ModelError: The start model is encoder-only or has another tokenizer than `sft.model`, or
            one of the models cannot be found.
    """
    if start in ("policy", "scratch"):
        return
    key = "reward_start.model"
    config = load_config(start, key, is_local(start, key))
    if family_of(start, config, key) == "encoder":
        raise encoder_cannot_value(config.model_type)
    if policy != "scratch":
        policy_vocabulary = vocabulary_digest(load_fast_tokenizer(policy, "sft.model"))
        require_same_tokens(policy_vocabulary, vocabulary_digest(load_fast_tokenizer(start, key)))


def require_same_tokens(policy: str, reward_model: str) -> None:
    """Refuse a reward model whose vocabulary differs from the policy's.

    Args:
        policy: Hash of the policy's vocabulary, see `encoding.vocabulary_digest`.
        reward_model: Hash of the reward model's vocabulary.

    Raises:
        ModelError: The vocabularies differ.
    """
    if policy != reward_model:
        raise ModelError(
            f"rlhf: the policy's vocabulary is {policy}, the reward model's is {reward_model}; ppo "
            "needs equal ones: set reward_start.model to policy, or rlhf.algorithm to rloo"
        )
