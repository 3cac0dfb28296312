"""Check that rows within the limits of prompts and responses fit a model's positions.

A limit counts tokens of one model's tokenizer. A candidate within the policy's limit can have more
tokens for the reward model. If such a row exceeds the positions, its prompt is trimmed further.
"""

from __future__ import annotations

from collections.abc import Sequence

from westofn.errors import ModelError
from westofn.networks.network import AnyNetwork
from westofn.text.encoding import Encoder
from westofn.text.model_files import require_positions

_SHOWN = 40  # characters of a text in a message


def require_room(
    network: AnyNetwork, encoder: Encoder, name: str, key: str, responses: int = 1
) -> None:
    """Refuse a model with fewer positions than the longest row has tokens.

    Args:
        network: Network of the model.
        encoder: Encoder with the limits of prompts and responses.
        name: Name of the model in error messages.
        key: Name of the parameter in error messages.
        responses: Number of responses in a row; the joint comparator reads two.

    Raises:
        ModelError: There are too few positions.
    """
    limits = encoder.template.max_prompt_tokens, encoder.template.max_response_tokens
    require_positions(network.made_for, network.family, limits, name, key, responses)


def shared_positions(network: AnyNetwork) -> int | None:
    """Return the number of positions that a prompt and its response share, if it is limited.

    It is None for encoder-decoders, which read prompt and response as separate rows.
    """
    return None if network.family == "encoder_decoder" else network.max_tokens


def prompt_beside(
    network: AnyNetwork, encoder: Encoder, prompt: str, ids: list[int], response: Sequence[int]
) -> list[int]:
    """Return the prompt's ids, trimmed from the left if prompt and response exceed the positions.

    Args:
        network: Network with limited `shared_positions`.
        encoder: Encoder of the same model.
        prompt: Text of the prompt.
        ids: Result of `encoder.prompts` for the prompt.
        response: Ids after the prompt: a response, or two responses for the joint comparator.

    Raises:
        ModelError: The response alone is too long.
    """
    room = shared_positions(network)
    if room is None or len(ids) + len(response) <= room:
        return ids
    left = room - len(response)
    if left < encoder.shortest_prompt:
        begin = encoder.decode([response])[0][:_SHOWN]
        raise ModelError(
            f"the response {begin!r}… has {len(response)} tokens, this "
            f"{network.model.config.model_type} has positions for {room}, of which a prompt needs "
            f"{encoder.shortest_prompt}, and responses are not trimmed; remove it, or start from "
            "a model with more positions (reward_start.model, sft.model)"
        )
    return encoder.prompts([prompt], left)[0]
