"""Whether the rows that the limits of texts allow fit what a model was made for."""

from __future__ import annotations

from westofn.errors import ModelError
from westofn.models.encoding import Encoder
from westofn.models.network import AnyNetwork


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
