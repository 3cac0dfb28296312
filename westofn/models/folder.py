"""The folder of a saved model: atomic writes, and loading of its encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from transformers import PreTrainedTokenizerFast

from westofn.artifacts.atomic import whole_folder
from westofn.artifacts.curve import write_curve
from westofn.models.card import Canary, Card, check_template
from westofn.text.encoding import NO_CHAT, Encoder, Family, Layout
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
        card: Card of the model without canaries, which this function adds.
        tokenizer: Tokenizer of the model.
        canaries: (prompt, response) inputs of the canaries, at least one.
        answer: Function that computes the canaries' outputs.
        write_weights: Function that writes configuration and weights to a folder.
        curve: Records of the training curve; without records no curve file is written.
    """
    prompts, responses = (list(column) for column in zip(*canaries, strict=True))
    with whole_folder(folder) as temporary:
        write_weights(temporary)
        save_tokenizer(tokenizer, temporary)
        outputs = answer(prompts, responses)
        answered = [Canary(x, y, v) for (x, y), v in zip(canaries, outputs, strict=True)]
        replace(card, canaries=answered).write(temporary)
        if curve:
            write_curve(curve, temporary)


def load_encoder(folder: Path, card: Card) -> Encoder:
    """Load the encoder of a saved model and check it against the model's card.

    Raises:
        ModelError: The tokenizer is missing, or it differs from the card.
    """
    tokenizer, layout = load_tokenizer(folder), card.template.get("layout")
    encoder = Encoder(
        tokenizer,
        int(card.template["max_prompt_tokens"]),
        int(card.template["max_response_tokens"]),
        cast(Family, card.family),
        chat=card.template.get("chat", NO_CHAT) != NO_CHAT,
        # The tokenizer's own template for pairs does not identify a model that was built here.
        ends=card.family == "encoder"
        and tokenizer.eos_token_id is not None
        and layout == Layout.of_ends(tokenizer).name,
    )
    check_template(folder, card, encoder.template.to_json())
    return encoder
