"""Whether the rows that the limits of texts allow fit what a model was made for.

Limits count a model's own tokens, but a text to be scored may come from another: a candidate that
fits the policy's limit may have more tokens for the reward model. Where positions end, such a
row's prompt gives way.
"""

from __future__ import annotations

from collections.abc import Sequence

from westofn.errors import ModelError
from westofn.networks.network import AnyNetwork
from westofn.text.encoding import Encoder

_SHOWN = 40  # characters of a text in a message


def require_room(
    network: AnyNetwork, encoder: Encoder, name: str, key: str, responses: int = 1
) -> None:
    """Refuse a model whose positions end before the longest row does.

    Args:
        network: The model's.
        encoder: Its limits are those of texts.
        name: What a message calls the model.
        key: The parameter that names it.
        responses: Responses in a row; the joint comparator reads two.

    Raises:
        ModelError: There are too few positions.
    """
    prompt = encoder.template.max_prompt_tokens
    response = encoder.template.max_response_tokens
    answers = responses * (response + 1)
    row = prompt + answers
    if network.family == "encoder_decoder":  # prompt and responses are rows of their own
        row = max(prompt, answers + 2)  # a decoder reads two tokens before a response
    if network.made_for is None or row <= network.made_for:
        return
    each = "" if responses == 1 else f"{responses} × "
    raise ModelError(
        f"model {name!r} has positions for {network.made_for} tokens, the limits allow rows of "
        f"{row}: sft.max_prompt_tokens {prompt}, {each}(sft.max_response_tokens {response} + 1); "
        f"lower them, or give {key} a model with more positions"
    )


def shared_positions(network: AnyNetwork) -> int | None:
    """Positions that a prompt and its response have together, if their number is limited.

    None also where each has a row of its own.
    """
    return None if network.family == "encoder_decoder" else network.max_tokens


def prompt_beside(
    network: AnyNetwork, encoder: Encoder, prompt: str, ids: list[int], response: Sequence[int]
) -> list[int]:
    """The prompt's ids, without more of its beginning where the response leaves too little room.

    Args:
        network: One whose `shared_positions` end.
        encoder: Of the same model.
        prompt: The text.
        ids: What `encoder.prompts` makes of it.
        response: Ids of what stands behind the prompt: for the joint comparator two responses.

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
            f"{encoder.shortest_prompt}, and a response is never cut; leave it out, or start from "
            "a model with more positions (reward_start.model, sft.model)"
        )
    return encoder.prompts([prompt], left)[0]
