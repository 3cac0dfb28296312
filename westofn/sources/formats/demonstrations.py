"""Read demonstrations, and prompts without responses.

A demonstration is a prompt (text or messages) with a response, a list of messages that ends with
the assistant, or a Reddit post with its summary. A prompt is any of these without the response.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from westofn.core.dialogue import Message
from westofn.errors import DataError
from westofn.sources.columns import Columns
from westofn.sources.formats.joining import join_response
from westofn.sources.formats.mapped import check_readable, read_prompt, text_of
from westofn.sources.formats.names import DIALOGUES
from westofn.sources.formats.recognise import with_prompt_columns
from westofn.sources.formats.rows import column, is_flag, text
from westofn.sources.formats.tldr import POST_COLUMNS, post_prompt
from westofn.sources.formats.turns import Turns, messages_of, turns_of
from westofn.sources.reading import Row

RESPONSES = ("completion", "response", "output", "answer", "label")

_LABELS = ("label", "kto_tag")
_UNDESIRED = ("false", "0", "0.0")

_NEEDS = (
    "prompt (or instruction) and completion, messages, or subreddit, title, post and summary "
    "(see docs/data.md)"
)
_NEEDS_PROMPT = "prompt, instruction, messages, or subreddit, title and post (see docs/data.md)"


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt and the response that the policy learns; each can be blank.

    Attributes:
        prompt: text of the prompt.
        response: the response.
        is_desired: whether people liked the response; false if `label` or `kto_tag` is false or 0.
    """

    prompt: str
    response: str
    is_desired: bool = True


def demonstration(row: Row) -> Demonstration:
    """Read the demonstration in a row.

    Raises:
        DataError: the row has no known format.
    """
    check_readable(row)
    if {*POST_COLUMNS, "summary"} <= set(row.values):
        summary = text(row.values["summary"], "summary", row.where)
        return Demonstration(post_prompt(row, row.values), summary.strip())
    dialogues = _dialogues(row)
    responses = [name for name in RESPONSES if not _is_label(row.values.get(name), dialogues)]
    name = next((name for name in responses if name in row.values), None)
    labels = [row.values.get(column) for column in _LABELS if column != name]
    is_desired = not any(str(label).lower() in _UNDESIRED for label in labels)
    if name is None and dialogues:
        *before, last = _dialogue(row, dialogues[0])
        if last.role != "assistant":
            raise DataError(
                f"{row.where}: {dialogues[0]} ends with role {last.role}, needs an assistant "
                f"message at the end: mend or remove the row"
            )
        return Demonstration(_text_of(before, row), last.content, is_desired)
    name = name or column(row, responses, _NEEDS)
    prompt = _prompt(row, Columns(response=name), _NEEDS)
    side = turns_of(row.values[name], name, row.where)
    context, response = join_response(prompt, side, name, row.where)
    return Demonstration(_text_of(context, row), response, is_desired)


def _is_label(value: object, dialogues: Sequence[str]) -> bool:
    """Return whether a value is a label of KTO and no response, which can be the text "true"."""
    return isinstance(value, int) or bool(is_flag(value) and dialogues)


def prompt_of(row: Row) -> str:
    """Read the prompt in a row; it can be blank.

    Raises:
        DataError: the row has no known format.
    """
    check_readable(row)
    info = row.values.get("info")
    post = info if isinstance(info, Mapping) else row.values
    if set(POST_COLUMNS) <= set(post):
        return post_prompt(row, post)
    if "prompt" not in row.values and (dialogues := _dialogues(row)):
        turns = _dialogue(row, dialogues[0])
        return _text_of(turns[:-1] if turns[-1].role == "assistant" else turns, row)
    return _text_of(_prompt(row, Columns(), _NEEDS_PROMPT), row)


def _prompt(row: Row, responses: Columns, needs: str) -> Turns:
    columns = with_prompt_columns(responses, row.values)
    if columns.prompt:
        prompt = read_prompt(columns, row)
        assert prompt is not None
        return prompt
    column(row, ("prompt",), needs)
    raise DataError(f"{row.where}: column prompt is neither text nor messages; needs {needs}")


def _dialogues(row: Row) -> list[str]:
    return [name for name in DIALOGUES if row.values.get(name) is not None]


def _dialogue(row: Row, name: str) -> list[Message]:
    turns = messages_of(row.values[name], name, row.where)
    if not turns:
        raise DataError(f"{row.where}: {name} is empty, needs at least one: remove the row")
    return turns


def _text_of(turns: Turns, row: Row) -> str:
    """Return the text of a prompt; "" if one of its turns is empty."""
    return text_of(turns, row.where) or ""
