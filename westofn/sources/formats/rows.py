"""Canonical pairs, reasons to drop a row, and typed access to cells, for all formats."""

from __future__ import annotations

import json
import math
import string
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple, TypeGuard

from westofn.artifacts.table import did_you_mean, show
from westofn.errors import DataError
from westofn.sources.json_lines import is_encodable, kind
from westofn.sources.reading import Row
from westofn.sources.splits import prompt_id, stable_id

EMPTY_PROMPT = "dropped_empty_prompt"
EMPTY_RESPONSE = "dropped_empty_response"
IDENTICAL = "dropped_identical_responses"
SIDES_DIFFER = "dropped_sides_differ_before_last_turn"
EMPTY_TURN = "dropped_empty_turn"
NO_SHARED_PROMPT = "dropped_no_shared_prompt"
TIE = "dropped_tie"
ONE_RESPONSE = "dropped_one_response"
MERGED = "merged_with_another_row"
_FLAGS = ("true", "false")
_WITHOUT_WIDTH = f"{string.whitespace}\u00a0\u200b\u200c\u200d\u2060\ufeff"


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
        return self.given_id or stable_id("h", self.prompt_id, self.chosen, self.rejected)


class Outcome(NamedTuple):
    """Result of one row: a pair, the reason to drop the row, or why the row cannot be read."""

    row: Row
    subset: str
    result: Pair | str | DataError


def pair_or_reason(
    prompt: str,
    chosen: str,
    rejected: str,
    *,
    subset: str = "",
    given_id: str = "",
    p_chosen: float | None = None,
) -> Pair | str:
    """Strip the responses and return a pair, or the reason to drop the row.

    Characters without width count as white space here, because nobody sees them.
    """
    chosen, rejected = chosen.strip(), rejected.strip()
    if not _visible(prompt):
        return EMPTY_PROMPT
    if not _visible(chosen) or not _visible(rejected):
        return EMPTY_RESPONSE
    if _visible(chosen) == _visible(rejected):
        return IDENTICAL
    return Pair(prompt, chosen, rejected, subset, given_id, p_chosen)


def _visible(text: str) -> str:
    return text.strip(_WITHOUT_WIDTH)


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
        f"{row.where}: column {' or '.join(names)} is missing{near}; the row has "
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
    if not is_encodable(value):
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
    result = as_number(value)
    if isinstance(value, bool) or result is None:
        raise DataError(
            f"{where}: column {name} is a {kind(value)} ({show(value)}), needs a finite number: "
            f"mend or remove the row"
        )
    return result


def is_flag(value: object) -> bool:
    """Return whether a value is true or false, or a text with one of these words."""
    return isinstance(value, bool) or (isinstance(value, str) and value.lower() in _FLAGS)


def as_number(value: object) -> float | None:
    """Return a number, or text that represents one, as a finite float; None for other values."""
    try:
        result = float(value) if isinstance(value, int | float | Decimal | str) else math.nan
    except (ValueError, OverflowError):
        return None
    is_written = not (isinstance(value, str) and "_" in value)  # Python reads 1_0 as 10
    return result if is_written and math.isfinite(result) else None


def listed(value: object, name: str, where: str) -> list[object]:
    """Return a value that must be a list, or text with a JSON list, as in CSV files.

    Raises:
        DataError: the value has another type.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{where}: column {name} is no JSON list ({error}), {show(value)}: write it as "
                f"JSON, or the data as JSONL or Parquet"
            ) from None
    if not isinstance(value, list):
        raise DataError(
            f"{where}: column {name} is a {kind(value)} ({show(value)}), needs a list: "
            f"mend or remove the row"
        )
    return value


def is_list_of_texts(value: object) -> TypeGuard[list[str]]:
    """Return whether a value is a list of texts, at least one."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
