"""Whether the rows that the limits of texts allow fit the positions that a model has."""

from __future__ import annotations

from westofn.errors import ModelError
from westofn.models.network import AnyNetwork


def require_room(
    network: AnyNetwork, name: str, key: str, *, prompt: int, response: int, responses: int = 1
) -> None:
    """Refuse a model whose positions end before the longest row does.

    Args:
        network: The model's; one that reads prompt and response in one row.
        name: What a message calls the model.
        key: The parameter that names it.
        prompt: Most tokens of a prompt, special ones included.
        response: Most tokens of a response, its end token not counted.
        responses: Responses in a row; the joint comparator reads two.

    Raises:
        ModelError: There are too few positions.
    """
    row = prompt + responses * (response + 1)
    if network.max_tokens is None or row <= network.max_tokens:
        return
    each = "" if responses == 1 else f"{responses} × "
    raise ModelError(
        f"model {name!r} has positions for {network.max_tokens} tokens, the limits allow rows of "
        f"{row}: sft.max_prompt_tokens {prompt} + {each}(sft.max_response_tokens {response} + 1); "
        f"lower them, or give {key} a model with more positions"
    )
