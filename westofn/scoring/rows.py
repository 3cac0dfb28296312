"""Lines of JSON to be scored: read strictly, one after the other, and written back as they were.

| a row holds | it gets |
|---|---|
| prompt, response | reward |
| prompt, responses (a list) | reward, a list |
| prompt, chosen, rejected | margin of chosen over rejected |

Other columns are carried along, byte by byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from westofn.artifacts.table import did_you_mean, show
from westofn.errors import DataError

Form = Literal["response", "responses", "pair"]
FORMS: dict[Form, tuple[str, ...]] = {
    "response": ("response",),
    "responses": ("responses",),
    "pair": ("chosen", "rejected"),
}
ADDED = ("reward", "reward_std", "margin", "margin_std", "beyond_limit")
"""Columns that scoring adds; see `stream`."""
_NEEDED = "needs prompt and response, prompt and responses, or prompt, chosen and rejected"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        place: File and line, for messages.
        text: The line, without the white space around it.
        form: Which of the forms it is.
        prompt: The prompt.
        responses: The response, the responses in their order, or chosen and rejected.
    """

    place: str
    text: str
    form: Form
    prompt: str
    responses: list[str]

    def with_columns(self, columns: Mapping[str, object]) -> str:
        r"""The line with further columns at its end.

        >>> row = Row("-:1", '{"prompt": "x", "n": 1.0}', "response", "x", ["y"])
        >>> row.with_columns({"reward": 0.5})
        '{"prompt": "x", "n": 1.0, "reward": 0.5}\n'
        """
        added = json.dumps(columns, allow_nan=False)
        return f"{self.text[:-1].rstrip()}, {added[1:]}\n"


def read_rows(lines: Iterable[bytes], name: str) -> Iterator[Row]:
    """Rows of a JSONL file; blank lines are passed over.

    Args:
        lines: The file's.
        name: Of the file, for messages.

    Raises:
        DataError: A line is no JSON object of one of the forms, its form is not that of the first
            row, or it has a column that scoring adds (the message has file and line); or there is
            no row.
    """
    form = None
    for number, line in enumerate(lines, 1):
        place = f"{name}:{number}"
        text = line.removeprefix(_BOM).strip() if number == 1 else line.strip()
        if not text:
            continue
        row = _row(text, place)
        if form and row.form != form[0]:
            raise DataError(
                f"{place}: has {_columns(row.form)}, the first row has {_columns(form[0])} "
                f"({form[1]}); needs one form: split the file"
            )
        form = form or (row.form, place)
        yield row
    if not form:
        raise DataError(f"{name}: no rows to score, {_NEEDED} in at least one")


def _columns(form: Form) -> str:
    return " and ".join(FORMS[form])


def _row(line: bytes, place: str) -> Row:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: byte {error.start} is not UTF-8; save it as UTF-8") from None
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place}: not JSON ({error.msg}, column {error.colno}): {show(text[:40])}; needs one "
            "object a line: mend or remove the line"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not JSON ({error}); mend or remove the line") from None
    if not isinstance(values, dict):
        raise DataError(f"{place}: {_kind(values)}, {_NEEDED}: mend or remove the line")
    form = _form(values, place)
    prompt = _text(values["prompt"], "prompt", place)
    if form == "responses":
        return Row(place, text, form, prompt, _texts(values["responses"], place))
    responses = [_text(values[column], column, place) for column in FORMS[form]]
    return Row(place, text, form, prompt, responses)


def _form(values: Mapping[str, Any], place: str) -> Form:
    for column in ADDED:
        if column in values:
            raise DataError(
                f"{place}: column {column} is there already, and scoring writes it; rename it"
            )
    found = [form for form, columns in FORMS.items() if set(columns) <= set(values)]
    if "prompt" in values and len(found) == 1:
        return found[0]
    if "prompt" in values and found:
        has = ", ".join(column for form in found for column in FORMS[form])
        raise DataError(f"{place}: has {has} at once, {_NEEDED}: remove the others")
    known = ["prompt", *(column for columns in FORMS.values() for column in columns)]
    near = (did_you_mean(name, known) for name in values if name not in known)
    has = show(", ".join(values)) if values else "no columns"
    raise DataError(f"{place}: has {has}{next(filter(None, near), '')}, {_NEEDED}")


def _texts(value: object, place: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise DataError(
            f"{place}: responses is {_kind(value)}, needs a list of at least one text: mend it"
        )
    return [_text(one, f"responses[{index}]", place) for index, one in enumerate(value)]


def _text(value: object, column: str, place: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{place}: {column} is {_kind(value)}, needs text: mend or remove the line")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{place}: {column} holds half a surrogate pair, which is not a character: mend it"
        ) from None
    return value


def _kind(value: object) -> str:
    """What a message calls a JSON value that is not what is needed."""
    match value:
        case None:
            return "null"
        case list():
            return "a list" if value else "an empty list"
        case dict():
            return "an object"
        case _:
            return show(value)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a finite number")
