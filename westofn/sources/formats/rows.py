"""What every format shares: canonical pairs, the reasons to drop a row, and typed cells."""

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
    """One usable preference.

    Attributes:
        prompt: text before the responses.
        chosen: the preferred response.
        rejected: the other one.
        subset: of the data set, "" where it has none.
        given_id: what the data calls the pair, "" where it names none.
        p_chosen: the labeller's probability, None for a hard label.
        label_source: who labelled.
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
        """Name of the prompt."""
        return prompt_id(self.prompt)

    @cached_property
    def pair_id(self) -> str:
        """What the data calls the pair, else a name made of its content."""
        return self.given_id or stable_id("h", normalise(self.prompt), self.chosen, self.rejected)


class Outcome(NamedTuple):
    """What became of one row: a pair, or the reason why there is none."""

    row: Row
    subset: str
    result: Pair | str


class Format(ABC):
    """A form of preferences.

    Attributes:
        name: as `inspect` says it.
        columns: what a row needs; each entry lists the names that one column may have.
        drops: the reasons, beyond ALWAYS, for which it drops rows.
        label_source: who labelled.
    """

    name: str
    columns: Sequence[tuple[str, ...]]
    drops: Sequence[str]
    label_source: str = "human"

    @abstractmethod
    def fits(self, row: Mapping[str, object]) -> bool:
        """Whether a row that has the columns is of this form, by its types."""

    @abstractmethod
    def outcomes(self, rows: Iterable[Row], seed: int) -> Iterator[Outcome]:
        """One outcome a row; `seed` decides what the form leaves to chance."""


def pair_or_reason(
    prompt: str,
    chosen: str,
    rejected: str,
    *,
    subset: str = "",
    given_id: str = "",
    p_chosen: float | None = None,
) -> Pair | str:
    """Strip the responses and make a pair, or say why these texts are none."""
    chosen, rejected = chosen.strip(), rejected.strip()
    if not prompt.strip():
        return EMPTY_PROMPT
    if not chosen or not rejected:
        return EMPTY_RESPONSE
    if chosen == rejected:
        return IDENTICAL
    return Pair(prompt, chosen, rejected, subset, given_id, p_chosen)


def column(row: Row, names: Sequence[str], needs: str) -> str:
    """The first of these names that a row has.

    Raises:
        DataError: it has none.
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
    """A value that must be text.

    Raises:
        DataError: it is not, or holds half a surrogate pair.
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
    """A value that must be a finite number, or text that spells one.

    Raises:
        DataError: it is not.
    """
    try:
        found = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        found = math.nan
    if isinstance(value, bool) or not math.isfinite(found):
        raise DataError(
            f"{where}: column {name} is a {kind(value)} ({show(value)}), needs a finite number: "
            f"mend or remove the row"
        )
    return found


def listed(value: object, name: str, where: str) -> list[object]:
    """A value that must be a list; text that spells one in JSON counts, as in CSV.

    Raises:
        DataError: it is not.
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
    """The row's subset, "" where it names none.

    Raises:
        DataError: it is no text.
    """
    value = row.values.get("subset")
    return "" if value is None else text(value, "subset", row.where)


def id_of(row: Row) -> str:
    """What the row calls itself, "" where it has no column `id`.

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
    """Whether a text is one in UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
