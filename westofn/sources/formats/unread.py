"""Refuse rows with an unread column whose name says that it belongs to the pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from westofn.core.dialogue import dialogue_of, is_dialogue
from westofn.errors import DataError
from westofn.sources.columns import Columns, cell, snake_case, words_of
from westofn.sources.formats.labels import matches
from westofn.sources.formats.names import (
    CONTEXTS,
    HISTORIES,
    LABELS,
    METADATA_WORDS,
    PROMPTS,
    SHORT_WORDS,
    SYSTEMS,
    columns_named,
)
from westofn.sources.formats.ratings import margins, ratings_of_sides, ratings_of_twins
from westofn.sources.formats.turns import has_messages, is_blank
from westofn.sources.json_lines import json_in, parsed
from westofn.sources.reading import Row

_BEFORE_PROMPT = {**dict.fromkeys(SYSTEMS, "system"), **dict.fromkeys(HISTORIES, "history")}
_BEFORE_PROMPT["context"] = "context"
_PROMPT_FIELDS = {**dict.fromkeys(PROMPTS, "prompt"), "input": "input", **_BEFORE_PROMPT}
_PROMPT_FIELDS |= {**dict.fromkeys(CONTEXTS, "context"), "instructions": "system"}
_LIKELY_WORDS = {
    "system": {"system", "sys", "persona", "character", "preprompt", "preamble"},
    "history": {"history", "dialog", "dialogue", "turns", "transcript"},
    "context": {
        *("context", "contexts", "ctx", "ctxs", "document", "documents", "passage", "passages"),
        *("article", "snippet", "starter", "facts", "schema", "table"),
        *("paragraph", "paragraphs", "background", "knowledge", "evidence", "scenario", "premise"),
    },
    "input": {"choices", "options"},
}
"""Words in the names of columns that are likely to belong to the prompt."""
_TEXTS = ("text", "source_text", "source")
"""Names of columns with what the prompt is about, or with the whole pair."""
_SHORTEST, _LONG = 3, 5
"""Words of the shortest text in such a column that is not a mere name, and in a column whose name
has one of `SHORT_WORDS`."""


def check_unread(row: Row, columns: Columns, *, is_known: bool) -> None:
    """Refuse a row with an unread column that holds a part of the prompt, or ratings of the sides.

    An unread column may repeat the texts of columns that are read, such as the turns of chosen.

    Args:
        row: row to check.
        columns: mapping that reads the row.
        is_known: whether the row is of a published set, whose other columns have known meanings.

    Raises:
        DataError: a such a column has a value; the message says how to read it or leave it out.
    """
    fields = _BEFORE_PROMPT if is_known else _PROMPT_FIELDS
    if snake_case(columns.prompt) == "post":
        fields = {**fields, "title": "context"}
    read: dict[bool, str] = {}
    for name, value in row.values.items():
        if name in columns.keys or is_blank(value):
            continue
        field = fields.get(snake_case(name), "")
        if not field and not is_known:
            field = _likely_field(name, value, cell(row.values, columns.prompt))
        if not field:
            continue
        with_responses = field in ("prompt", "history")
        if with_responses not in read:
            texts = _read_texts(row, columns, with_responses=with_responses)
            read[with_responses] = _spaced(" ".join(texts))
        if all(_holds(read[with_responses], text) for text in texts_in(value)):
            continue
        if has_messages(value) and columns.prompt and field in ("prompt", "context"):
            field = "history"
        raise DataError(_refusal(row.where, {field: name}, columns))
    given = {name: value for name, value in row.values.items() if not is_blank(value)}
    ratings, names = None, ("score_a", "score_b")
    if columns.form == "pairs" and not columns.chosen_score:
        ratings, names = ratings_of_sides(given), ("chosen_score", "rejected_score")
    elif columns.form == "labelled pairs" and not columns.score_a and not is_known:
        ratings = ratings_of_twins(given, columns.response_a, columns.response_b)
    if ratings:
        raise DataError(_refusal(row.where, dict(zip(names, ratings, strict=True)), columns))
    if columns.form == "labelled pairs" and columns.label and not is_known:
        _check_labels(row, columns)
    if columns.form == "pairs":
        for name, margin in margins(given):
            if margin < 0:
                raise DataError(
                    f"{row.where}: column {name} is {margin:g}, so rejected is better than chosen; "
                    f"needs the better response as chosen: mend or remove the row, or set "
                    f"{', '.join(columns.settings())} to leave {name} out"
                )


def _check_labels(row: Row, columns: Columns) -> None:
    """Refuse a label that contradicts the one that is read, in the same words."""
    spec = f"{columns.label_a},{columns.label_b}"
    label = cell(row.values, columns.label)
    for name in columns_named(row.values, LABELS):
        other = row.values[name]
        if not matches(other, spec) or not matches(label, spec):
            continue
        if matches(other, columns.label_a) != matches(label, columns.label_a):
            raise DataError(
                f"{row.where}: columns {columns.label} and {name} prefer different responses; mend "
                f"or remove the row, or set {', '.join(columns.settings())} to leave {name} out"
            )


def _refusal(where: str, fields: Mapping[str, str], columns: Columns) -> str:
    wanted = ", ".join(f"prepare.columns.{field}={name}" for field, name in fields.items())
    others = replace(columns, **dict.fromkeys(fields, ""))
    return (
        f"{where}: column {' and '.join(fields.values())} is not read, because the first rows do "
        f"not have it or another column has its place; set {wanted}, with "
        f"{', '.join(others.settings())}; to leave it out, set {', '.join(columns.settings())}"
    )


def _read_texts(row: Row, columns: Columns, *, with_responses: bool) -> Iterator[str]:
    """Yield the texts that are read; without responses that are plain texts beside a prompt."""
    for name, value in row.values.items():
        is_response = name in _responses(columns) and isinstance(value, str)
        is_plain = is_response and not is_dialogue(str(value))
        if name in columns.keys and (with_responses or not is_plain):
            yield from texts_in(value)


def _responses(columns: Columns) -> Sequence[str]:
    names = (columns.chosen, columns.rejected, columns.response_a, columns.response_b)
    return (*names, columns.response) if columns.prompt else ()


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


def _spaced(text: str) -> str:
    """Return a text with single spaces between its words and around it."""
    return f" {' '.join(text.split())} "


def _holds(whole: str, part: str) -> bool:
    """Return whether a text of `_spaced` holds another text, as whole words."""
    words = _spaced(part)[1:-1]
    start = whole.find(words)
    while start >= 0:
        edges = (whole[start - 1], words[:1]), (words[-1:], whole[start + len(words)])
        if not any(left.isalnum() and right.isalnum() for left, right in edges):
            return True
        start = whole.find(words, start + 1)
    return False


def _likely_field(name: str, value: object, prompt: object) -> str:
    """Return the field of the prompt for which a column without a usual name is; "" for none."""
    words = set(words_of(name))
    if words & (METADATA_WORDS - SHORT_WORDS):
        return ""
    entries = parsed(value)
    if has_messages(entries):
        assert isinstance(entries, list)
        roles = {str(entry.get("role", entry.get("from"))).lower() for entry in entries}
        return "history" if roles - {"assistant", "gpt", "model", "bot"} else ""
    shortest = _LONG if words & SHORT_WORDS else _SHORTEST
    if isinstance(entries, str) and len(entries.split()) < shortest and entries[-1] not in ".?!:":
        return ""
    if snake_case(name) in _TEXTS and isinstance(value, str) and isinstance(prompt, str):
        is_name = "source" in words and value.rstrip()[-1] not in ".?!"
        return "" if is_name or _holds(_spaced(value), prompt) else "input"
    return next((field for field, of_field in _LIKELY_WORDS.items() if words & of_field), "")
