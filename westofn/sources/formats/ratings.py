"""Rated responses, as lists in a row or one response a row: the best against a random other.

Which other one is a matter of the seed and the prompt alone. Responses that are rated as high as
the best are no rivals; where no other is left, the prompt is dropped and counted.
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
    """A prompt a row, with its responses and their scores."""

    name = "rated lists"
    columns = (("prompt",), _LISTS)
    drops = (EQUAL_SCORES, ONE_RESPONSE)

    def fits(self, row: Mapping[str, object]) -> bool:
        """Whether the responses are a list."""
        values = [row[name] for name in _LISTS if name in row]
        return bool(values) and (
            isinstance(values[0], list)
            or (isinstance(values[0], str) and values[0].lstrip().startswith("["))
        )

    def outcomes(self, rows: Iterable[Row], seed: int) -> Iterator[Outcome]:
        """One outcome a row."""
        for row in rows:
            subset = subset_of(row)
            prompt = prompt_text(row)
            yield Outcome(row, subset, best_against_other(prompt, _rated(row), subset, seed))


class RatedRows(Format):
    """A response a row; the rows of one prompt in a file make one pair, wherever they stand."""

    name = "rated rows"
    columns = (("prompt",), ("response", "completion"), _SCORES)
    drops = (EQUAL_SCORES, ONE_RESPONSE)

    def fits(self, row: Mapping[str, object]) -> bool:
        """Whether the response is one text."""
        return any(isinstance(row.get(name), str) for name in ("response", "completion"))

    def outcomes(self, rows: Iterable[Row], seed: int) -> Iterator[Outcome]:
        """One outcome a row: one of a prompt's rows stands for the pair, its others are merged.

        A prompt's spelling and subset are the smallest of its rows', whatever their order.
        """
        found: dict[str, _Rated] = {}
        for row in rows:
            prompt, subset = prompt_text(row), subset_of(row)
            response = column(row, ("response", "completion"), _NEEDS_ROWS)
            score = column(row, _SCORES, _NEEDS_ROWS)
            # Without its texts, which the entries hold already.
            place = Row(row.where, {})
            one = found.setdefault(normalise(prompt), _Rated(place, prompt, subset))
            one.prompt, one.subset = min(one.prompt, prompt), min(one.subset, subset)
            one.entries.append(
                (
                    text(row.values[response], response, row.where),
                    number(row.values[score], score, row.where),
                )
            )
        for one in found.values():
            for _ in one.entries[1:]:
                yield Outcome(one.row, one.subset, MERGED)
            pair = best_against_other(one.prompt, one.entries, one.subset, seed)
            yield Outcome(one.row, one.subset, pair)


@dataclass
class _Rated:
    """The rows of one prompt: the first one's place, and the responses with their scores."""

    row: Row
    prompt: str
    subset: str
    entries: list[tuple[str, float]] = field(default_factory=list)


def best_against_other(
    prompt: str, rated: Sequence[tuple[str, float]], subset: str, seed: int
) -> Pair | str:
    """The best response against a random one of those with a lower score.

    Args:
        prompt: text.
        rated: responses and their scores, in any order; a copy counts with its highest score.
        subset: of the data.
        seed: with the prompt, decides which other response.

    Returns:
        A pair, or the reason why there is none.
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
    others = [response for response, score in score_of.items() if score < highest]
    if not others:
        return EQUAL_SCORES
    best = [response for response, score in score_of.items() if score == highest]
    purpose = f"ratings {normalise(prompt)}"
    chosen, rejected = (hash_order(some, seed, purpose)[0] for some in (best, others))
    return pair_or_reason(prompt, chosen, rejected, subset=subset)


def prompt_text(row: Row) -> str:
    """The prompt of a row: text as it stands, messages as one text.

    Raises:
        DataError: the row has none, or it is neither.
    """
    column(row, ("prompt",), "a prompt")
    value = row.values["prompt"]
    if isinstance(value, list):
        asked = messages(value, "prompt", row.where)
        return to_text(asked) if any(one.content.strip() for one in asked) else ""
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
            f"{row.where}: {len(entries)} {name} and {len(scores)} {scores_name}; needs as many: "
            f"mend or remove the row"
        )
    return [
        (text(response, name, row.where), number(score, scores_name, row.where))
        for response, score in zip(entries, scores, strict=True)
    ]


def _rated_entry(entry: object, name: str, row: Row) -> tuple[str, float]:
    if not isinstance(entry, Mapping):
        raise DataError(f"{row.where}: column {name} has {show(entry)}, needs a response and score")
    inside = Row(f"{row.where}: {name}", entry)
    response = column(inside, _TEXTS, "a response and its score")
    score = column(inside, _SCORES, "a response and its score")
    return (
        text(entry[response], response, inside.where),
        number(entry[score], score, inside.where),
    )
