"""Formats of demonstrations and of prompts without responses.

A demonstration is a prompt (text or messages) with its completion, a list of messages that ends
with an assistant message, or a Reddit post with its summary. A prompt is any of these without the
response.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from westofn.core.dialogue import Message, to_text
from westofn.errors import DataError
from westofn.sources.formats.conversations import messages
from westofn.sources.formats.ratings import prompt_text
from westofn.sources.formats.rows import column, text
from westofn.sources.formats.tldr import POST_COLUMNS, post_prompt
from westofn.sources.reading import Row

RESPONSES = ("completion", "response", "label", "output")

_NEEDS = (
    "prompt (or instruction) and completion, messages, or subreddit, title, post and summary "
    "(see docs/data.md)"
)
_NEEDS_PROMPT = "prompt, instruction, messages, or subreddit, title and post (see docs/data.md)"


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt and the response that the policy learns; either can be blank."""

    prompt: str
    response: str


def demonstration(row: Row) -> Demonstration:
    """Read the demonstration in a row.

    Raises:
        DataError: the row has no known format.
    """
    if {*POST_COLUMNS, "summary"} <= set(row.values):
        summary = text(row.values["summary"], "summary", row.where)
        return Demonstration(post_prompt(row, row.values), summary.strip())
    if "messages" in row.values:
        *before, last = _dialogue(row)
        if last.role != "assistant":
            raise DataError(
                f"{row.where}: messages end with role {last.role}, need an assistant message at "
                f"the end: mend or remove the row"
            )
        return Demonstration(_text_of(before), last.content.strip())
    column(row, ("prompt", "instruction"), _NEEDS)
    name = column(row, RESPONSES, _NEEDS)
    value = row.values[name]
    if isinstance(value, list):
        completion = messages(value, name, row.where)
        if len(completion) != 1 or completion[0].role != "assistant":
            raise DataError(
                f"{row.where}: column {name} has {len(completion)} messages, needs one assistant "
                f"message: put earlier turns into prompt"
            )
        value = completion[0].content
    return Demonstration(prompt_of(row), text(value, name, row.where).strip())


def prompt_of(row: Row) -> str:
    """Read the prompt in a row; it can be blank.

    Raises:
        DataError: the row has no known format.
    """
    if set(POST_COLUMNS) <= set(row.values):
        return post_prompt(row, row.values)
    if "prompt" in row.values:
        return prompt_text(row)
    if "instruction" in row.values:
        instruction = text(row.values["instruction"], "instruction", row.where)
        return _text_of([Message("user", instruction)])
    if "messages" in row.values:
        turns = _dialogue(row)
        return _text_of(turns[:-1] if turns[-1].role == "assistant" else turns)
    info = row.values.get("info")
    if isinstance(info, Mapping):
        return post_prompt(row, info)
    column(row, ("prompt",), _NEEDS_PROMPT)
    raise AssertionError("a row without prompt passed")


def _dialogue(row: Row) -> list[Message]:
    turns = messages(row.values["messages"], "messages", row.where)
    if not turns:
        raise DataError(f"{row.where}: messages is empty, needs at least one: remove the row")
    return turns


def _text_of(turns: list[Message]) -> str:
    return to_text(turns) if any(turn.content.strip() for turn in turns) else ""
