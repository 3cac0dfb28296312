"""The folder of a saved model: atomic writes, and loading of its encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from westofn.artifacts.atomic import whole_folder
from westofn.artifacts.curve import write_curve
from westofn.artifacts.integrity import checksums
from westofn.models.card import (
    Canary,
    Card,
    check_files,
    check_template,
    require_finite_canaries,
)
from westofn.text.encoding import NO_CHAT, Encoder, Layout
from westofn.text.tokenizer import load_tokenizer, save_tokenizer

Answer = Callable[[list[str], list[str]], list[list[float]]]
"""Function from prompts and responses to the model's outputs, one row for each response."""


def write_model(
    folder: Path,
    card: Card,
    *,
    tokenizer: PreTrainedTokenizerFast,
    canaries: Sequence[tuple[str, str]],
    answer: Answer,
    write_weights: Callable[[Path], None],
    curve: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write weights, tokenizer, card and curve atomically.

    Args:
        folder: Folder to write; an earlier model in it is replaced.
        card: Card of the model without canaries and checksums, which this function adds.
        tokenizer: Tokenizer of the model.
        canaries: (prompt, response) inputs of the canaries, at least one.
        answer: Function that computes the canaries' outputs.
        write_weights: Function that writes configuration and weights to a folder.
        curve: Records of the training curve; without records no curve file is written.

    Raises:
        ModelError: There is no canary, or the model gives an output that is not finite.
    """
    prompts, responses = [prompt for prompt, _ in canaries], [response for _, response in canaries]
    with whole_folder(folder) as temporary:
        write_weights(temporary)
        save_tokenizer(tokenizer, temporary)
        outputs = answer(prompts, responses)
        answered = [
            Canary.model_construct(prompt=prompt, response=response, output=output)
            for (prompt, response), output in zip(canaries, outputs, strict=True)
        ]
        require_finite_canaries(folder, answered)
        if curve:
            write_curve(curve, temporary)
        # Last, since it names the checksums of all other files.
        card.model_copy(update={"canaries": answered, "files": checksums(temporary)}).write(
            temporary
        )


def load_encoder(folder: Path, card: Card) -> Encoder:
    """Check the files of a saved model against its card, then load its encoder.

    Raises:
        ModelError: A file is missing or differs from the card.
    """
    check_files(folder, card)
    tokenizer, template = load_tokenizer(folder), card.template
    encoder = Encoder(
        tokenizer,
        template["max_prompt_tokens"],
        template["max_response_tokens"],
        card.family,
        chat=template["chat"] != NO_CHAT,
        # The tokenizer's own template for pairs does not identify a model that was built here.
        ends=card.family == "encoder"
        and tokenizer.eos_token_id is not None
        and template["layout"] == Layout.of_ends(tokenizer).name,
    )
    check_template(folder, card, encoder.template.to_json())
    return encoder
