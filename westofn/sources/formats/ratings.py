"""Find what a row says about a pair beside its responses: ratings, differences of ratings, ties."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from westofn.sources.columns import words_of
from westofn.sources.formats.labels import is_tie, normal_label
from westofn.sources.formats.names import (
    COST_WORDS,
    LABELS,
    RATING_WORDS,
    SIDES,
    columns_named,
    partner,
)
from westofn.sources.formats.rows import as_number, is_list_of_texts
from westofn.sources.json_lines import parsed

_QUALITY_WORDS = {"quality", "overall", "helpfulness", "stars", "marks", "likes", "karma", "elo"}
"""Words for ratings, if only one column of each side has such a word."""
_MARGIN_WORDS = {"margin", "diff", "difference", "gap"}
"""Words for the rating of the better side minus that of the worse side."""
_STRENGTHS = ("preference_strength", "strength", "strength_of_preference")
"""Names of columns that say how much better a response is, with any sign."""
_HOLDERS = {"meta", "metadata", "info", "extra", "annotation", "annotations"}
"""Words of columns that may hold ratings as JSON text."""
_VERDICTS = (*LABELS, *_STRENGTHS, "status", "result", "outcome", "judgment", "judgement", "vote",
             "decision", "comparison", "human_preference", "preference_label")  # fmt: skip
_TIE_FLAGS = ("tie", "is_tie", "tied", "is_tied", "draw", "is_draw")
_TRUE = ("true", "1", "1.0", "yes", "y")
_NOT_GIVEN = "none"
"""The tie that is also what Python writes for a missing value."""


def ratings_of_sides(values: Mapping[str, object]) -> tuple[str, str] | None:
    """Return the paths of the ratings of the better and of the worse side; None without them.

    >>> ratings_of_sides({"rating-chosen": 5, "rating-rejected": 3})
    ('rating-chosen', 'rating-rejected')
    >>> ratings_of_sides({"meta": {"scores": {"chosen": 5, "rejected": 3}}})
    ('meta.scores.chosen', 'meta.scores.rejected')
    >>> ratings_of_sides({"scores": [5, 3]})
    ('scores.0', 'scores.1')
    """
    cells = dict(_cells(values))
    pairs = list(_partners(filter(is_rating, cells), SIDES))
    if not pairs:
        qualities = [
            path
            for path, value in cells.items()
            if set(words_of(path)) & _QUALITY_WORDS and as_number(value) is not None
        ]
        pairs = list(_partners(qualities, SIDES))
        pairs = pairs if len(pairs) == 1 else []
    if not pairs and not any(map(is_list_of_texts, values.values())):  # else they are of those
        pairs = [
            (f"{name}.0", f"{name}.1")
            for name, value in values.items()
            if is_rating(name) and _is_pair_of_numbers(parsed(value))
        ]
    return pairs[0] if pairs else None


def ratings_of_twins(
    values: Mapping[str, object], first: str, second: str
) -> tuple[str, str] | None:
    """Return the paths of the ratings of two responses; None unless they have exactly one each.

    Args:
        values: columns of a row.
        first: path of the first response.
        second: path of the second response.

    >>> ratings_of_twins({"score_a": 1, "score_b": 2}, "response_a", "response_b")
    ('score_a', 'score_b')
    """
    words = zip(words_of(first), words_of(second), strict=False)
    suffixes = [pair for pair in words if pair[0] != pair[1]]
    pairs = list(_partners(filter(is_rating, dict(_cells(values))), suffixes[:1]))
    return pairs[0] if len(pairs) == 1 else None


def is_rating(name: str) -> bool:
    """Return whether a column has ratings or ranks, and not costs or differences."""
    words = set(words_of(name))
    return bool(words & RATING_WORDS) and not words & (COST_WORDS | _MARGIN_WORDS)


def says_tie(values: Mapping[str, object], read: Set[str]) -> bool:
    """Return whether a column says that two responses are tied.

    Such a column is a verdict with a tie as its text, a flag, or a difference of ratings or a
    strength of preference of 0.

    Args:
        values: columns of a row.
        read: columns with other meanings.

    >>> says_tie({"winner": "tie (bothbad)"}, set()), says_tie({"is_tie": True}, set())
    (True, True)
    >>> says_tie({"margin": 0.0}, set()), says_tie({"margin": 1.5, "winner": "a"}, set())
    (True, False)
    """
    free = {name: value for name, value in values.items() if name not in read}
    labels = (
        normal_label(v) for n in columns_named(free, _VERDICTS) if isinstance(v := free[n], str)
    )
    flags = (str(free[name]).strip().lower() for name in columns_named(free, _TIE_FLAGS))
    strengths = ((name, as_number(free[name])) for name in columns_named(free, _STRENGTHS))
    return (
        any(label != _NOT_GIVEN and is_tie(label) for label in labels)
        or any(flag in _TRUE for flag in flags)
        or any(number == 0 for _, number in (*strengths, *margins(free)))
    )


def margins(values: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    """Yield the columns with a difference of ratings, such as margin or score_diff."""
    for name, value in values.items():
        words = set(words_of(name))
        is_margin = words & _MARGIN_WORDS and words <= _MARGIN_WORDS | RATING_WORDS
        if is_margin and (number := as_number(value)) is not None:
            yield name, number


def _cells(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the paths of the values that are no objects; JSON text of a response is a text."""
    for name, value in values.items():
        is_read = is_rating(name) or set(words_of(name)) & _HOLDERS
        if isinstance(inner := parsed(value) if is_read else value, Mapping):
            yield from _cells(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _partners(paths: Iterable[str], words: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield pairs of paths that differ in one word: the first of two words, and the second."""
    given = list(paths)
    for word, other in words:
        for path in given:
            if twin := partner(given, path, word, other):
                yield path, twin


def _is_pair_of_numbers(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    return all(as_number(entry) is not None for entry in value)
