"""Read rows to score: the forms that `prepare` reads, with or without labels.

| columns of a row | added column |
|---|---|
| a prompt and a response, or messages that end with a response | reward |
| a prompt and a list of responses | reward, a list |
| a prompt and two responses, or two dialogues that share it | margin of the first over the second |
| a prompt and several chosen or rejected responses | reward, a list: the chosen ones first |

The functions of `prepare` read the texts, so a model gets the texts that it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal

from westofn.artifacts.table import show
from westofn.errors import DataError
from westofn.sources import reading
from westofn.sources.columns import Columns
from westofn.sources.formats.joining import join_responses, join_sides
from westofn.sources.formats.mapped import (
    Mapped,
    check_readable,
    read_prompt,
    text_of,
    value_of,
)
from westofn.sources.formats.recognise import recognise_responses
from westofn.sources.formats.rows import is_list_of_texts, listed
from westofn.sources.formats.turns import Turns, turns_of
from westofn.sources.json_lines import JsonLine

Form = Literal["response", "responses", "pair"]
ADDED = ("reward", "reward_std", "margin", "margin_std", "beyond_limit")
"""Columns that scoring adds, see `stream`."""
_ADDED_TO: dict[Form, str] = {
    "response": "a reward",
    "responses": "a list of rewards",
    "pair": "a margin",
}


@dataclass(frozen=True)
class Row:
    """One row to score.

    Attributes:
        place: File and line, for error messages.
        values: All columns of the row.
        text: The line of JSON that was read; "" if the row was not a line of JSON.
        form: Form of the row.
        prompt: The prompt.
        responses: The response, the responses in order, or the two responses of a pair.
    """

    place: str
    values: Mapping[str, object]
    text: str
    form: Form
    prompt: str
    responses: list[str]


@dataclass
class Faults:
    """Rows that cannot be read: their number, and the fault of the first one."""

    count: int = 0
    first: str = ""

    def add(self, fault: str) -> None:
        """Count a row."""
        self.first = self.first or fault
        self.count += 1


def read_rows(
    lines: Iterable[JsonLine],
    name: str,
    *,
    given: Columns,
    head: int = 1,
    dropped: Faults | None = None,
    added: Sequence[str] = ADDED,
) -> Iterator[Row]:
    """Read the rows of a file; the first rows determine which columns are read.

    Args:
        lines: Rows of a file.
        name: Name of the file in error messages.
        given: Columns that the user named; the others are recognised.
        head: Number of first rows from which the columns are recognised.
        dropped: Counts rows that cannot be read; None: such a row is an error.
        added: Columns that the caller adds to the rows, which they must not have.

    Raises:
        DataError: The columns have no known form, a row cannot be read or has a column of `added`
            (the message has file and row), or there are no rows.
    """
    lines = iter(lines)
    first = list(islice(lines, head))
    form: Form | None = None
    mapped = recognise_responses([raw_row(line) for line in first], given) if first else None
    for line in chain(first, lines):
        assert mapped
        try:
            row = _row(line, mapped, added)
            if form and row.form != form:
                raise DataError(
                    f"{row.place}: gets {_ADDED_TO[row.form]}, rows before it get "
                    f"{_ADDED_TO[form]}; needs one form: split the file"
                )
        except DataError as error:
            if dropped is None:
                raise DataError(f"{error}; or give --bad-rows drop") from None
            dropped.add(str(error))
            continue
        form = row.form
        yield row
    if not form:
        fault = f", the first fault: {dropped.first}" if dropped and dropped.first else ""
        raise DataError(f"{name}: no rows to score{fault}; needs at least one")


def raw_row(line: JsonLine) -> reading.Row:
    """Return a line as the readers of `prepare` take it."""
    return reading.Row(line.where, line.values, line.fault)


def _row(line: JsonLine, mapped: Mapped, added: Sequence[str]) -> Row:
    raw = raw_row(line)
    for name in added:
        if name in raw.values:
            raise DataError(
                f"{raw.where}: column {name} exists already, but scoring writes it; rename it"
            )
    rows = list(mapped.expand([raw])) if mapped.expand else [raw]
    if len(rows) != 1:
        raise DataError(
            f"{raw.where}: the row holds {len(rows)} rows of the form “{mapped.name}”, needs 1: "
            f"write prompt and responses to a file of their own"
        )
    row, columns = rows[0], mapped.columns
    check_readable(row)
    prompt = read_prompt(columns, row)
    if columns.chosen or columns.response_a:
        form, context, responses = _pair(row, columns, prompt)
    else:
        form, context, responses = _list(row, columns, prompt)
    prompt_text = text_of(context, row.where)
    if prompt_text is None:
        raise DataError(f"{row.where}: the prompt has an empty turn: mend or remove the row")
    return Row(line.where, line.values, line.text, form, prompt_text, responses)


def _pair(
    row: reading.Row, columns: Columns, prompt: Turns | None
) -> tuple[Form, Turns, list[str]]:
    """Read two responses; if a side has several, read all responses as a list."""
    names = columns.chosen or columns.response_a, columns.rejected or columns.response_b
    values = [value_of(row, name) for name in names]
    if any(map(is_list_of_texts, values)):
        sides = [value if is_list_of_texts(value) else [value] for value in values]
        entries = [(entry, name) for side, name in zip(sides, names, strict=True) for entry in side]
        return "responses", *_with_one_prompt(row, entries, prompt)
    first, second = (
        turns_of(value, name, row.where) for value, name in zip(values, names, strict=True)
    )
    joined = join_sides(prompt, (first, second), names, row.where)
    if isinstance(joined, str):
        reason = joined.removeprefix("dropped_").replace("_", " ")
        raise DataError(f"{row.where}: {names[0]} and {names[1]}: {reason}: mend or remove the row")
    return "pair", joined.context, [joined.first, joined.second]


def _list(
    row: reading.Row, columns: Columns, prompt: Turns | None
) -> tuple[Form, Turns, list[str]]:
    """Read one response, or a list of responses."""
    name = columns.responses or columns.response
    value = value_of(row, name)
    if not columns.responses:
        if is_list_of_texts(value):
            raise DataError(
                f"{row.where}: column {name} has a list of texts ({show(value)}), needs one text "
                f"or messages; for several responses, set prepare.columns.responses={name}"
            )
        return "response", *_with_one_prompt(row, [(value, name)], prompt)
    entries = listed(value, name, row.where)
    if not entries:
        raise DataError(
            f"{row.where}: column {name} is [], needs a list of at least one response: mend or "
            f"remove the row"
        )
    return "responses", *_with_one_prompt(row, [(entry, name) for entry in entries], prompt)


def _with_one_prompt(
    row: reading.Row, entries: Iterable[tuple[object, str]], prompt: Turns | None
) -> tuple[Turns, list[str]]:
    """Return the one prompt of the responses, and the texts of the responses.

    Args:
        row: The row.
        entries: Values of responses, at least one, with the names of their columns.
        prompt: The prompt of the row; None if the responses are dialogues that begin with it.
    """
    sides = [(turns_of(entry, name, row.where), name) for entry, name in entries]
    return join_responses(prompt, sides, row.where)
