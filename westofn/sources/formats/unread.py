"""Refuse rows with an unread column whose name says that it belongs to the pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from westofn.core.dialogue import dialogue_of, is_dialogue
from westofn.errors import DataError
from westofn.sources.columns import Columns, snake_case
from westofn.sources.formats.names import CONTEXTS, HISTORIES, PROMPTS, SYSTEMS
from westofn.sources.formats.ratings import margins, ratings_of_sides, ratings_of_twins
from westofn.sources.formats.rows import json_in
from westofn.sources.formats.turns import is_blank
from westofn.sources.reading import Row

_BEFORE_PROMPT = {**dict.fromkeys(SYSTEMS, "system"), **dict.fromkeys(HISTORIES, "history")}
_BEFORE_PROMPT["context"] = "context"
_PROMPT_FIELDS = {**dict.fromkeys(PROMPTS, "prompt"), "input": "input", **_BEFORE_PROMPT}
_PROMPT_FIELDS |= {**dict.fromkeys(CONTEXTS, "context"), "instructions": "system"}


def check_unread(row: Row, columns: Columns, *, is_known: bool) -> None:
    """Refuse a row with an unread column that holds a part of the prompt, or ratings of the sides.

    An unread column may repeat the texts of columns that are read, such as the turns of chosen.

    Args:
        row: row to check.
        columns: mapping that reads the row.
        is_known: whether the row is of a known set, whose other columns have known meanings.

    Raises:
        DataError: a such a column has a value; the message says how to read it or leave it out.
    """
    fields = _BEFORE_PROMPT if is_known else _PROMPT_FIELDS
    if snake_case(columns.prompt) == "post":
        fields = {**fields, "title": "context"}
    read = ""
    for name, value in row.values.items():
        field = fields.get(snake_case(name))
        if not field or name in columns.keys or is_blank(value):
            continue
        read = read or _with_single_spaces(" ".join(_read_texts(row, columns)))
        if any(_with_single_spaces(text) not in read for text in texts_in(value)):
            raise DataError(_refusal(row.where, {field: name}, columns))
    given = {name: value for name, value in row.values.items() if not is_blank(value)}
    ratings, names = None, ("score_a", "score_b")
    if columns.form == "pairs" and not columns.chosen_score:
        ratings, names = ratings_of_sides(given), ("chosen_score", "rejected_score")
    elif columns.form == "labelled pairs" and not columns.score_a and not is_known:
        ratings = ratings_of_twins(given, columns.response_a, columns.response_b)
    if ratings:
        raise DataError(_refusal(row.where, dict(zip(names, ratings, strict=True)), columns))
    if columns.form == "pairs":
        for name, margin in margins(given):
            if margin < 0:
                raise DataError(
                    f"{row.where}: column {name} is {margin:g}, so rejected is better than chosen; "
                    f"needs the better response as chosen: mend or remove the row, or set "
                    f"{', '.join(columns.settings())} to leave {name} out"
                )


def _refusal(where: str, fields: Mapping[str, str], columns: Columns) -> str:
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
    """Yield the texts in a cell: a text, or the texts of messages, lists and JSON."""
    if isinstance(value, str):
        parsed = json_in(value)
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


def _with_single_spaces(text: str) -> str:
    return " ".join(text.split())
