"""Read JSON lines to score, and write them with additional columns.

| columns of a row | added column |
|---|---|
| prompt, response | reward |
| prompt, responses (a list) | reward, a list |
| prompt, chosen, rejected | margin of chosen over rejected |

The original text of a line is kept byte by byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from westofn.artifacts.table import did_you_mean, show
from westofn.errors import DataError
from westofn.sources.formats.rows import text
from westofn.sources.json_lines import JsonLine, json_lines

Form = Literal["response", "responses", "pair"]
FORMS: dict[Form, tuple[str, ...]] = {
    "response": ("response",),
    "responses": ("responses",),
    "pair": ("chosen", "rejected"),
}
ADDED = ("reward", "reward_std", "margin", "margin_std", "beyond_limit")
"""Columns that scoring adds, see `stream`."""
_NEEDED = "needs prompt and response, prompt and responses, or prompt, chosen and rejected"


@dataclass(frozen=True)
class Row:
    """One row to score.

    Attributes:
        place: File and line, for error messages.
        text: The line without surrounding white space.
        form: Format of the row, a key of FORMS.
        prompt: The prompt.
        responses: The response, the responses in order, or chosen and rejected.
    """

    place: str
    text: str
    form: Form
    prompt: str
    responses: list[str]

    def with_columns(self, columns: Mapping[str, object]) -> str:
        r"""Return the line with additional columns at the end.

        >>> row = Row("-:1", '{"prompt": "x", "n": 1.0}', "response", "x", ["y"])
        >>> row.with_columns({"reward": 0.5})
        '{"prompt": "x", "n": 1.0, "reward": 0.5}\n'
        """
        added = json.dumps(columns, allow_nan=False)
        return f"{self.text[:-1].rstrip()}, {added[1:]}\n"


def read_rows(lines: Iterable[bytes], name: str) -> Iterator[Row]:
    """Read the rows of a JSONL file; blank lines are skipped.

    Args:
        lines: Lines of the file.
        name: Name of the file in error messages.

    Raises:
        DataError: A line is not a JSON object with one of the formats, has another format than the
            first row, or has a column that scoring adds (the message has file and line); or there
            are no rows.
    """
    form = None
    for line in json_lines(lines, name):
        row = _row(line)
        if form and row.form != form[0]:
            raise DataError(
                f"{row.place}: has {_columns(row.form)}, the first row has {_columns(form[0])} "
                f"({form[1]}); needs one format: split the file"
            )
        form = form or (row.form, row.place)
        yield row
    if not form:
        raise DataError(f"{name}: no rows to score, {_NEEDED} in at least one")


def _columns(form: Form) -> str:
    return " and ".join(FORMS[form])


def _row(line: JsonLine) -> Row:
    values, place = line.values, line.where
    form = _form(values, place)
    prompt = text(values["prompt"], "prompt", place)
    if form == "responses":
        return Row(place, line.text, form, prompt, _texts(values["responses"], place))
    responses = [text(values[column], column, place) for column in FORMS[form]]
    return Row(place, line.text, form, prompt, responses)


def _form(values: Mapping[str, Any], place: str) -> Form:
    for column in ADDED:
        if column in values:
            raise DataError(
                f"{place}: column {column} exists already, but scoring writes it; rename it"
            )
    matches = [form for form, columns in FORMS.items() if set(columns) <= set(values)]
    if "prompt" in values and len(matches) == 1:
        return matches[0]
    if "prompt" in values and matches:
        has = ", ".join(column for form in matches for column in FORMS[form])
        raise DataError(f"{place}: has {has} at once, {_NEEDED}: remove the others")
    known = ["prompt", *(column for columns in FORMS.values() for column in columns)]
    near = (did_you_mean(name, known) for name in values if name not in known)
    has = show(", ".join(values)) if values else "no columns"
    raise DataError(f"{place}: has {has}{next(filter(None, near), '')}, {_NEEDED}")


def _texts(value: object, place: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise DataError(
            f"{place}: column responses is {show(value)}, needs a list of at least one text: "
            f"mend or remove the row"
        )
    return [text(item, f"responses[{index}]", place) for index, item in enumerate(value)]
