"""Pools of responses from files: rows of {prompt or prompt_id, responses: list of texts}.

Other columns are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from westofn.artifacts.pools import Pools
from westofn.errors import DataError
from westofn.sources.formats.demonstrations import prompt_of
from westofn.sources.formats.rows import column, listed, text
from westofn.sources.reading import Row
from westofn.sources.splits import prompt_id

RESPONSES = "responses"
NOT_USED = ("rows_other_prompts", "responses_too_long", "responses_surplus")
"""Counts of unused data: rows of other prompts, responses that are too long, responses beyond N."""

_NEEDS = "prompt (or prompt_id) and responses, a list of texts"
_SCORES = {"scores", "ratings"}


def pools_of(rows: Iterable[Row], name_of: Mapping[str, str], place_of: dict[str, str]) -> Pools:
    """Read pools, one row per prompt; the text of a prompt is "" where its row has none.

    Args:
        rows: rows of one or more files.
        name_of: hash of a prompt's text -> prompt_id, for prompts whose id is not the hash.
        place_of: prompt_id -> location of its pool; the function adds the pools that it reads.

    Raises:
        DataError: a column is missing or has another type, or a prompt has two pools.
    """
    return Pools.of_rows(_pool(row, name_of, place_of) for row in rows)


def _pool(
    row: Row, name_of: Mapping[str, str], place_of: dict[str, str]
) -> tuple[str, str, list[str]]:
    """prompt_id, prompt and responses of a row."""
    prompt = prompt_of(row) if row.values.get("prompt") is not None else ""
    if "prompt_id" in row.values:
        name = text(row.values["prompt_id"], "prompt_id", row.where)
    else:
        column(row, ("prompt",), _NEEDS)
        name = prompt_id(prompt_of(row))
    name = name_of.get(name, name)
    if (earlier := place_of.setdefault(name, row.where)) != row.where:
        raise DataError(
            f"{row.where}: prompt {name} also has a pool at {earlier}; needs one row per prompt: "
            f"put its responses into one list"
        )
    column(row, (RESPONSES,), _NEEDS)
    entries = listed(row.values[RESPONSES], RESPONSES, row.where)
    return name, prompt, [text(entry, RESPONSES, row.where) for entry in entries]


def is_pool(row: Row) -> bool:
    """Return whether a row is a pool without scores, by its columns.

    Raises:
        DataError: the responses are text that begins like a JSON list but is not one.
    """
    value = row.values.get(RESPONSES)
    is_list = isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("["))
    if not is_list or _SCORES & set(row.values):
        return False
    entries = listed(value, RESPONSES, row.where)
    return not (entries and isinstance(entries[0], Mapping))
