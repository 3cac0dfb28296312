"""The folder of a saved model: written whole or not at all, read with its own tokenizer."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from transformers import PreTrainedTokenizerFast

from westofn.artifacts.curve import write_curve
from westofn.models.card import Canary, Card, check_template
from westofn.text.encoding import NO_CHAT, Encoder, Family, Layout
from westofn.text.tokenizer import load_tokenizer, save_tokenizer

Answer = Callable[[list[str], list[str]], list[list[float]]]
"""What a model gives for prompts and responses, one row each."""


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
    """Write weights, tokenizer, card and curve; the folder appears only when it is whole.

    Args:
        folder: Where to; an earlier model there is replaced.
        card: The model's; its canaries are filled in here.
        tokenizer: The one that it was trained with.
        canaries: (prompt, response) inputs, at least one.
        answer: Computes the canaries' outputs.
        write_weights: Writes configuration and weights into a folder.
        curve: What its training measured on the way; without it no such file is written.
    """
    prompts, responses = (list(column) for column in zip(*canaries, strict=True))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
        temporary = Path(name) / folder.name
        write_weights(temporary)
        save_tokenizer(tokenizer, temporary)
        outputs = answer(prompts, responses)
        answered = [Canary(x, y, v) for (x, y), v in zip(canaries, outputs, strict=True)]
        replace(card, canaries=answered).write(temporary)
        if curve:
            write_curve(curve, temporary)
        put(temporary, folder)


def load_encoder(folder: Path, card: Card) -> Encoder:
    """The encoder of a saved model, checked against its card.

    Raises:
        ModelError: The tokenizer is missing, or it is not the card's.
    """
    tokenizer, layout = load_tokenizer(folder), card.template.get("layout")
    encoder = Encoder(
        tokenizer,
        int(card.template["max_prompt_tokens"]),
        int(card.template["max_response_tokens"]),
        cast(Family, card.family),
        chat=card.template.get("chat", NO_CHAT) != NO_CHAT,
        # What the tokenizer itself puts around a pair does not tell a model that was made here.
        ends=card.family == "encoder"
        and tokenizer.eos_token_id is not None
        and layout == Layout.of_ends(tokenizer).name,
    )
    check_template(folder, card, encoder.template.to_json())
    return encoder


def put(temporary: Path, final: Path) -> None:
    """Put a finished folder in place of an earlier one, which stays until the new one is whole."""
    if final.exists():
        shutil.rmtree(final)
    temporary.rename(final)
