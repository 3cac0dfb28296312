"""Shared by all formats: canonical pairs, reasons to drop a row, and typed access to cells."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from westofn.artifacts.table import did_you_mean, show
from westofn.errors import DataError
from westofn.sources.json_lines import kind
from westofn.sources.reading import Row
from westofn.sources.splits import normalise, prompt_id, stable_id

EMPTY_PROMPT = "dropped_empty_prompt"
EMPTY_RESPONSE = "dropped_empty_response"
IDENTICAL = "dropped_identical_responses"
EQUAL_SCORES = "dropped_equal_scores"
SIDES_DIFFER = "dropped_sides_differ_before_last_turn"
ALWAYS = (EMPTY_PROMPT, EMPTY_RESPONSE, IDENTICAL)


@dataclass(frozen=True)
class Pair:
    """One usable preference pair.

    Attributes:
        prompt: text before the responses.
        chosen: the preferred response.
        rejected: the other response.
        subset: subset of the data set; "" if there is none.
        given_id: id of the pair in the data; "" if there is none.
        p_chosen: the labeller's probability that chosen is better; None: a hard label.
        label_source: who labelled the pair.
    """

    prompt: str
    chosen: str
    rejected: str
    subset: str = ""
    given_id: str = ""
    p_chosen: float | None = None
    label_source: str = "human"

    @cached_property
    def prompt_id(self) -> str:
        """Id of the prompt."""
        return prompt_id(self.prompt)

    @cached_property
    def pair_id(self) -> str:
        """Id of the pair in the data, or else an id derived from its content."""
        return self.given_id or stable_id("h", normalise(self.prompt), self.chosen, self.rejected)


class Outcome(NamedTuple):
    """Result of one row: a pair, or the reason to drop the row."""

    row: Row
    subset: str
    result: Pair | str


class Format(ABC):
    """A format of preferences.

    Attributes:
        name: name of the format, shown by `inspect`.
        columns: required columns; each entry lists the names that a column can have.
        drops: reasons to drop rows, in addition to ALWAYS.
        label_source: who labelled the pairs.
    """

    name: str
    columns: Sequence[tuple[str, ...]]
    drops: Sequence[str]
    label_source: str = "human"

    @abstractmethod
    def fits(self, row: Mapping[str, object]) -> bool:
        """Return whether the types of a row with the required columns match this format."""

    @abstractmethod
    def outcomes(self, rows: Iterable[Row], seed: int) -> Iterator[Outcome]:
        """Yield one outcome per row; `seed` is the seed of random choices."""


def pair_or_reason(
    prompt: str,
    chosen: str,
    rejected: str,
    *,
    subset: str = "",
    given_id: str = "",
    p_chosen: float | None = None,
) -> Pair | str:
    """Strip the responses and return a pair, or the reason why they do not make a usable pair."""
    chosen, rejected = chosen.strip(), rejected.strip()
    if not prompt.strip():
        return EMPTY_PROMPT
    if not chosen or not rejected:
        return EMPTY_RESPONSE
    if chosen == rejected:
        return IDENTICAL
    return Pair(prompt, chosen, rejected, subset, given_id, p_chosen)


def column(row: Row, names: Sequence[str], needs: str) -> str:
    """Return the first of the names that is a column of the row.

    Raises:
        DataError: the row has none of the columns.
    """
    for name in names:
        if name in row.values:
            return name
    near = next(filter(None, (did_you_mean(name, list(row.values)) for name in names)), "")
    raise DataError(
        f"{row.where}: column {' or '.join(names)} is missing{near}; found "
        f"{show(', '.join(row.values))}, needs {needs}: rename the columns"
    )


def text(value: object, name: str, where: str) -> str:
    """Return a value that must be text.

    Raises:
        DataError: the value is not text, or contains half a surrogate pair.
    """
    if not isinstance(value, str):
        raise DataError(
            f"{where}: column {name} is a {kind(value)} ({show(value)}), needs text: "
            f"mend or remove the row"
        )
    if not encodable(value):
        raise DataError(
            f"{where}: column {name} holds half a surrogate pair, which is not a character: "
            f"mend or remove the row"
        )
    return value


def number(value: object, name: str, where: str) -> float:
    """Return a value that must be a finite number, or text that represents one.

    Raises:
        DataError: the value has another type.
    """
    try:
        result = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        result = math.nan
    if isinstance(value, bool) or not math.isfinite(result):
        raise DataError(
            f"{where}: column {name} is a {kind(value)} ({show(value)}), needs a finite number: "
            f"mend or remove the row"
        )
    return result


def listed(value: object, name: str, where: str) -> list[object]:
    """Return a value that must be a list, or text with a JSON list, as in CSV files.

    Raises:
        DataError: the value has another type.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DataError(f"{where}: column {name} is no JSON list ({error}): mend it") from None
    if not isinstance(value, list):
        raise DataError(
            f"{where}: column {name} is a {kind(value)} ({show(value)}), needs a list: "
            f"mend or remove the row"
        )
    return value


def subset_of(row: Row) -> str:
    """Return the row's subset; "" if it has none.

    Raises:
        DataError: the subset is not text.
    """
    value = row.values.get("subset")
    return "" if value is None else text(value, "subset", row.where)


def id_of(row: Row) -> str:
    """Return the row's id; "" without a column `id`.

    Raises:
        DataError: the id is neither text nor a whole number.
    """
    if "id" not in row.values:
        return ""
    given = row.values["id"]
    if not isinstance(given, str | int) or isinstance(given, bool) or given == "":
        raise DataError(f"{row.where}: column id is {show(given)}, needs text or a whole number")
    if not encodable(str(given)):
        raise DataError(f"{row.where}: column id holds half a surrogate pair: mend the id")
    return str(given)


def encodable(value: str) -> bool:
    """Return whether a text can be encoded in UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
