"""Refuse rows with a column that is not read and whose name says that it belongs to the pair."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from westofn.core.dialogue import dialogue_of, is_dialogue
from westofn.errors import DataError
from westofn.sources.columns import Columns, spelt
from westofn.sources.formats.names import CONTEXTS, HISTORIES, PROMPTS, SYSTEMS, ratings_of_sides
from westofn.sources.formats.turns import is_blank
from westofn.sources.reading import Row

_BEFORE_PROMPT = {**dict.fromkeys(SYSTEMS, "system"), **dict.fromkeys(HISTORIES, "history")}
_BEFORE_PROMPT["context"] = "context"
_OF_PROMPT = {**dict.fromkeys(PROMPTS, "prompt"), "input": "input", **_BEFORE_PROMPT}
_OF_PROMPT |= {**dict.fromkeys(CONTEXTS, "context"), "instructions": "system"}


def check_unread(row: Row, columns: Columns, *, is_known: bool) -> None:
    """Refuse a row with an unread column that holds a part of the prompt, or ratings of the sides.

    What the columns that are read hold too, such as the turns of chosen, may stand in others.

    Args:
        row: row to check.
        columns: mapping that reads the row.
        is_known: whether the row is of a known set, whose other columns have known meanings.

    Raises:
        DataError: a column would have to be read; the message says how to read it or leave it out.
    """
    fields = _BEFORE_PROMPT if is_known else _OF_PROMPT
    if spelt(columns.prompt) == "post":
        fields = {**fields, "title": "context"}
    read = ""
    for name, value in row.values.items():
        field = fields.get(spelt(name))
        if not field or name in columns.keys or is_blank(value):
            continue
        read = read or _squeezed(" ".join(_read_texts(row, columns)))
        if any(_squeezed(text) not in read for text in texts_in(value)):
            raise DataError(_doubt(row.where, {field: name}, columns))
    if columns.form == "pairs" and not columns.chosen_score:
        given = [name for name, value in row.values.items() if not is_blank(value)]
        if ratings := ratings_of_sides(given):
            fields_of = dict(zip(("chosen_score", "rejected_score"), ratings, strict=True))
            raise DataError(_doubt(row.where, fields_of, columns))


def _doubt(where: str, fields: Mapping[str, str], columns: Columns) -> str:
    wanted = ", ".join(f"prepare.columns.{field}={name}" for field, name in fields.items())
    others = replace(columns, **dict.fromkeys(fields, ""))
    return (
        f"{where}: column {' and '.join(fields.values())} is not read, because the first rows do "
        f"not have it or another column has its place; set {wanted}, with "
        f"{', '.join(others.settings())}; to leave it out, set {', '.join(columns.settings())}"
    )


def _read_texts(row: Row, columns: Columns) -> Iterator[str]:
    for name, value in row.values.items():
        if name in columns.keys:
            yield from texts_in(value)


def texts_in(value: object) -> Iterator[str]:
    """Yield the texts in a cell: those of messages, of lists and of JSON texts."""
    if isinstance(value, str):
        parsed = _parsed(value)
        if parsed is not None:
            yield from texts_in(parsed)
        elif is_dialogue(value):
            yield from (message.content for message in dialogue_of(value))
        else:
            yield value
    elif isinstance(value, list):
        for entry in value:
            yield from texts_in(entry)
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            if key not in ("role", "from"):
                yield from texts_in(entry)


def _parsed(value: str) -> object:
    if not value.lstrip().startswith(("[", "{")):
        return None
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, list | dict) else None


def _squeezed(text: str) -> str:
    return " ".join(text.split())
