"""The tokenizer of an export, and the rows on which it gives the token ids of training.

Its post-processor inserts the special tokens as in training, so that `tokenizer(prompt, response)`
gives the same ids as the encoder, where the response begins with the layout's seam. For a model
with a chat template, the prompt is the output of `apply_chat_template` with the generation prompt.

Some steps of the encoder, such as trimming, are left to the caller. Rows that need them are not
used to verify an export, see `comparable_rows`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from westofn.core.dialogue import to_messages
from westofn.errors import ModelError
from westofn.exporting.forms import turns
from westofn.models.card import Canary
from westofn.text.chat import VARIABLES
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import plain_ids

# The first prompt can exceed a small max_prompt_tokens; the second then remains.
PROBES = (
    Canary(prompt="a question, and one more", response="an answer", output=[]),
    Canary(prompt="a", response="b", output=[]),
)


def comparable_rows(encoder: Encoder, canaries: Sequence[Canary]) -> list[Canary]:
    """Return the rows that the tokenizer encodes like the encoder: untrimmed and `_is_plain`.

    Args:
        encoder: Encoder of the model.
        canaries: Rows beside PROBES.

    Raises:
        ModelError: There is no such row.
    """
    rows = [*canaries, *PROBES]
    limits, prompts = encoder.template, [row.prompt for row in rows]
    untrimmed = Encoder(
        encoder.tokenizer,
        sys.maxsize,
        limits.max_response_tokens,
        limits.family,
        chat=encoder.chat is not None,
    )
    # Responses that do not fit could exceed the model's positions.
    fitting = encoder.fits([row.response for row in rows])
    encoded = zip(rows, encoder.prompts(prompts), untrimmed.prompts(prompts), fitting, strict=True)
    plain = [
        row
        for row, ids, untrimmed_ids, fits in encoded
        if fits and ids == untrimmed_ids and _is_plain(encoder, row)
    ]
    if not plain:
        raise ModelError(
            f"max_prompt_tokens is {limits.max_prompt_tokens}, which trims even the "
            f"prompt {PROBES[-1].prompt!r}, so the export cannot be verified; raise "
            "sft.max_prompt_tokens and rerun"
        )
    return plain


def _is_plain(encoder: Encoder, row: Canary) -> bool:
    """Return whether the tokenizer or chat template alone encodes a row like the encoder.

    It does not if a text contains a special token, if the turns of a dialogue do not alternate
    between user and assistant, or if a row would have no token before the response.
    """
    if any(_contains_special(encoder, text) for text in (row.prompt, row.response)):
        return False
    if encoder.chat:
        return _alternates([message.role for message in to_messages(row.prompt)])
    return bool(encoder.layout.before_prompt or plain_ids(encoder.tokenizer, [row.prompt])[0])


def _contains_special(encoder: Encoder, text: str) -> bool:
    """Return whether a text contains a special token, which only the encoder reads as text."""
    tokenizer = encoder.tokenizer
    (ids,) = tokenizer(
        [text], add_special_tokens=False, split_special_tokens=False, verbose=False
    ).input_ids
    # Some control tokens of a chat template, such as <think>, are not marked as special.
    control = encoder.chat.control if encoder.chat else frozenset[int]()
    unmarked = {index for index in control if not tokenizer.added_tokens_decoder[index].special}
    return ids != plain_ids(tokenizer, [text])[0] or not unmarked.isdisjoint(ids)


def _alternates(roles: Sequence[str]) -> bool:
    return roles == [("user", "assistant")[index % 2] for index in range(len(roles) | 1)]


def tokenizer_input(encoder: Encoder, tokenizer: Any, prompt: str) -> str:
    """Return the prompt as a caller gives it to the tokenizer."""
    if encoder.chat is None:
        return prompt
    messages = [turn | {"content": turn["content"].strip()} for turn in turns(prompt)]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def exported_tokenizer(
    encoder: Encoder, after_text: Sequence[int], segment: int = 0, padding_side: str = "right"
) -> PreTrainedTokenizerFast:
    """Return a copy of the tokenizer that inserts the special tokens by its post-processor.

    Args:
        encoder: Encoder of the model.
        after_text: Ids after a single text; those of a pair are the encoder's.
        segment: Token type of the second text of a pair.
        padding_side: Where padding stands; left for models that continue a text.
    """
    tokenizer = deepcopy(encoder.tokenizer)
    layout = encoder.layout
    ids = [*layout.before_prompt, *layout.after_prompt, layout.end, *after_text]
    before, after, end, last = (
        list(map(str, tokenizer.convert_ids_to_tokens(list(part))))
        for part in (layout.before_prompt, layout.after_prompt, (layout.end,), after_text)
    )
    chat = encoder.chat
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=["$A"] if chat else [*before, "$A", *last],  # a chat template adds its own end
        pair=[*before, "$A", *after, f"$B:{segment}", *(f"{token}:{segment}" for token in end)],
        special_tokens=sorted(set(zip([*before, *after, *end, *last], ids, strict=True))),
    )
    if chat:
        fixed = "".join(f"{{% set {name} = {value!r} %}}" for name, value in VARIABLES.items())
        tokenizer.chat_template = fixed + chat.source
    else:  # one that came with the pretrained model, which training did not use
        tokenizer.chat_template = None
    limits = encoder.template
    settings: dict[str, Any] = {
        "padding_side": padding_side,
        "truncation_side": "left",
        "model_input_names": ["input_ids", *["token_type_ids"] * segment, "attention_mask"],
        "model_max_length": limits.max_prompt_tokens + limits.max_response_tokens + 1,
    }
    for name, value in settings.items():
        setattr(tokenizer, name, value)
    tokenizer.init_kwargs |= settings  # only init_kwargs are saved
    return tokenizer
