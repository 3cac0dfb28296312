"""Rated responses: the best response against a random response with a lower score.

A row holds a list of rated responses, or one rated response. The random response depends only on
the seed and the prompt. If all responses have the best score, the prompt is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from westofn.artifacts.table import show
from westofn.core.dialogue import to_text
from westofn.errors import DataError
from westofn.sources.formats.conversations import messages
from westofn.sources.formats.rows import (
    EMPTY_PROMPT,
    EQUAL_SCORES,
    Format,
    Outcome,
    Pair,
    column,
    number,
    pair_or_reason,
    subset_of,
    text,
)
from westofn.sources.formats.rows import listed as as_list
from westofn.sources.reading import Row
from westofn.sources.splits import hash_order, normalise

MERGED = "merged_with_another_row"
ONE_RESPONSE = "dropped_one_response"

_LISTS = ("responses", "completions")
_TEXTS = ("response", "completion", "text", "content")
_SCORES = ("score", "rating", "overall_score")
_SCORE_LISTS = ("scores", "ratings")
_NEEDS_LIST = "prompt, responses, scores (lists of equal length)"
_NEEDS_ROWS = "prompt, response, score"


class RatedLists(Format):
    """Rows with one prompt, its responses and their scores."""

    name = "rated lists"
    columns = (("prompt",), _LISTS)
    drops = (EQUAL_SCORES, ONE_RESPONSE)

    def fits(self, row: Mapping[str, object]) -> bool:
        """Return whether the responses are a list."""
        values = [row[name] for name in _LISTS if name in row]
        return bool(values) and (
            isinstance(values[0], list)
            or (isinstance(values[0], str) and values[0].lstrip().startswith("["))
        )

    def outcomes(self, rows: Iterable[Row], seed: int) -> Iterator[Outcome]:
        """Yield one outcome per row."""
        for row in rows:
            subset = subset_of(row)
            prompt = prompt_text(row)
            yield Outcome(row, subset, best_against_other(prompt, _rated(row), subset, seed))


class RatedRows(Format):
    """Rows with one rated response; all rows of a prompt in a file make one pair."""

    name = "rated rows"
    columns = (("prompt",), ("response", "completion"), _SCORES)
    drops = (EQUAL_SCORES, ONE_RESPONSE)

    def fits(self, row: Mapping[str, object]) -> bool:
        """Return whether the response is a text."""
        return any(isinstance(row.get(name), str) for name in ("response", "completion"))

    def outcomes(self, rows: Iterable[Row], seed: int) -> Iterator[Outcome]:
        """Yield one outcome per row: the pair for one row of a prompt, `MERGED` for its other rows.

        The spelling and the subset of a prompt are the smallest of its rows, independent of order.
        """
        rated_by_prompt: dict[str, _Rated] = {}
        for row in rows:
            prompt, subset = prompt_text(row), subset_of(row)
            response = column(row, ("response", "completion"), _NEEDS_ROWS)
            score = column(row, _SCORES, _NEEDS_ROWS)
            # Without values: the entries hold the row's texts already.
            location = Row(row.where, {})
            rated = rated_by_prompt.setdefault(normalise(prompt), _Rated(location, prompt, subset))
            rated.prompt, rated.subset = min(rated.prompt, prompt), min(rated.subset, subset)
            rated.entries.append(
                (
                    text(row.values[response], response, row.where),
                    number(row.values[score], score, row.where),
                )
            )
        for rated in rated_by_prompt.values():
            for _ in rated.entries[1:]:
                yield Outcome(rated.row, rated.subset, MERGED)
            pair = best_against_other(rated.prompt, rated.entries, rated.subset, seed)
            yield Outcome(rated.row, rated.subset, pair)


@dataclass
class _Rated:
    """The rows of one prompt: location of the first row, and responses with scores."""

    row: Row
    prompt: str
    subset: str
    entries: list[tuple[str, float]] = field(default_factory=list)


def best_against_other(
    prompt: str, rated: Sequence[tuple[str, float]], subset: str, seed: int
) -> Pair | str:
    """Pair the best response with a random response of lower score.

    Args:
        prompt: text of the prompt.
        rated: responses and their scores, in any order; duplicates count with their highest score.
        subset: subset of the pair.
        seed: seed of the random choice.

    Returns:
        A pair, or the reason to drop the prompt.
    """
    score_of: dict[str, float] = {}
    for response, score in rated:
        if stripped := response.strip():
            score_of[stripped] = max(score, score_of.get(stripped, score))
    if not prompt.strip():
        return EMPTY_PROMPT
    if len(score_of) < 2:
        return ONE_RESPONSE
    highest = max(score_of.values())
    lower = [response for response, score in score_of.items() if score < highest]
    if not lower:
        return EQUAL_SCORES
    best = [response for response, score in score_of.items() if score == highest]
    purpose = f"ratings {normalise(prompt)}"
    chosen, rejected = (hash_order(responses, seed, purpose)[0] for responses in (best, lower))
    return pair_or_reason(prompt, chosen, rejected, subset=subset)


def prompt_text(row: Row) -> str:
    """Return the prompt of a row; a list of messages is converted to one text.

    Raises:
        DataError: the row has no prompt, or the prompt is neither text nor messages.
    """
    column(row, ("prompt",), "a prompt")
    value = row.values["prompt"]
    if isinstance(value, list):
        turns = messages(value, "prompt", row.where)
        return to_text(turns) if any(turn.content.strip() for turn in turns) else ""
    return text(value, "prompt", row.where)


def _rated(row: Row) -> list[tuple[str, float]]:
    name = column(row, _LISTS, _NEEDS_LIST)
    entries = as_list(row.values[name], name, row.where)
    if entries and isinstance(entries[0], Mapping):
        return [_rated_entry(entry, name, row) for entry in entries]
    scores_name = column(row, _SCORE_LISTS, _NEEDS_LIST)
    scores = as_list(row.values[scores_name], scores_name, row.where)
    if len(scores) != len(entries):
        raise DataError(
            f"{row.where}: {len(entries)} {name} and {len(scores)} {scores_name}; needs equal "
            f"numbers: mend or remove the row"
        )
    return [
        (text(response, name, row.where), number(score, scores_name, row.where))
        for response, score in zip(entries, scores, strict=True)
    ]


def _rated_entry(entry: object, name: str, row: Row) -> tuple[str, float]:
    if not isinstance(entry, Mapping):
        raise DataError(f"{row.where}: column {name} has {show(entry)}, needs a response and score")
    entry_row = Row(f"{row.where}: {name}", entry)
    response = column(entry_row, _TEXTS, "a response and its score")
    score = column(entry_row, _SCORES, "a response and its score")
    return (
        text(entry[response], response, entry_row.where),
        number(entry[score], score, entry_row.where),
    )
