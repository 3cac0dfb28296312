"""Pools that were generated elsewhere: rows of {prompt or prompt_id, responses: list of texts}.

Other columns are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from westofn.artifacts.pools import Pools
from westofn.errors import DataError
from westofn.sources.formats.ratings import prompt_text
from westofn.sources.formats.rows import column, listed, text
from westofn.sources.reading import Row
from westofn.sources.splits import prompt_id

RESPONSES = "responses"
NOT_USED = ("rows_other_prompts", "responses_too_long", "responses_surplus")
"""What of the pools does not become a candidate: rows of prompts that are not asked for, and of
those asked for the responses that do not fit and those beyond N."""

_NEEDS = "prompt (or prompt_id) and responses, a list of texts"
_SCORES = {"scores", "ratings"}


def pools_of(rows: Iterable[Row], name_of: Mapping[str, str], place_of: dict[str, str]) -> Pools:
    """Read pools, one row a prompt; the prompt's text is "" where the row has none.

    Args:
        rows: the rows of one or more files.
        name_of: prompt_id of those prompts whose own is not that of their text.
        place_of: where the pool of a prompt was met so far; filled on the way.

    Raises:
        DataError: a column is missing or of another type, or a prompt has two pools.
    """
    return Pools.of_rows(_pool(row, name_of, place_of) for row in rows)


def _pool(
    row: Row, name_of: Mapping[str, str], place_of: dict[str, str]
) -> tuple[str, str, list[str]]:
    """prompt_id, prompt and responses of a row."""
    prompt = prompt_text(row) if row.values.get("prompt") is not None else ""
    if "prompt_id" in row.values:
        name = text(row.values["prompt_id"], "prompt_id", row.where)
    else:
        column(row, ("prompt",), _NEEDS)
        name = prompt_id(prompt_text(row))
    name = name_of.get(name, name)
    if (earlier := place_of.setdefault(name, row.where)) != row.where:
        raise DataError(
            f"{row.where}: prompt {name} also has a pool at {earlier}; needs one row a prompt: "
            f"put its responses into one list"
        )
    column(row, (RESPONSES,), _NEEDS)
    entries = listed(row.values[RESPONSES], RESPONSES, row.where)
    return name, prompt, [text(entry, RESPONSES, row.where) for entry in entries]


def is_pool(row: Row) -> bool:
    """Whether a row is a pool, by its columns, and no rated list.

    Raises:
        DataError: its responses are text that only begins like a list in JSON.
    """
    value = row.values.get(RESPONSES)
    listing = isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("["))
    if not listing or _SCORES & set(row.values):
        return False
    entries = listed(value, RESPONSES, row.where)
    return not (entries and isinstance(entries[0], Mapping))
