"""How the rows of a benchmark are counted; one rule for each way that official code counts.

A rule turns the scores of a row into a result in [0, 1], and the rows of a subset into its score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Protocol

from westofn.bench.items import Item, Scores
from westofn.core.reward_benchmarks import (
    STYLES,
    TiesRow,
    best_result,
    style_results,
    ties_scores,
)


@dataclass(frozen=True)
class Result:
    """The result of one row.

    Attributes:
        value: How much of the row is won, in [0, 1].
        tied: Whether equal scores decided the row.
        parts: The value's parts, which a rule averages apart.
    """

    value: float
    tied: bool
    parts: Mapping[str, float]


class Rule(Protocol):
    """A way to count rows."""

    def compared(self, item: Item) -> list[tuple[int, int]]:
        """Return the pairs of responses, i < j, whose margins decide the result."""

    def result(self, item: Item, scores: Scores) -> Result:
        """Return the result of a row."""

    def total(self, items: Sequence[Item], scores: Sequence[Scores]) -> Result:
        """Return the score of the rows of a subset; `tied` is whether any row is."""

    def chance(self, items: Sequence[Item]) -> float | None:
        """Return the expected score of random scores; None if it depends on their distribution."""

    def units(self, items: Sequence[Item]) -> int:
        """Return the number of independent rows."""


class _Mean:
    """Base of the rules whose score is the mean of the results of the rows."""

    def result(self, item: Item, scores: Scores) -> Result:
        """Return the result of a row."""
        raise NotImplementedError

    def total(self, items: Sequence[Item], scores: Sequence[Scores]) -> Result:
        """Return the mean over the rows, of each part too."""
        results = [self.result(item, own) for item, own in zip(items, scores, strict=True)]
        value = sum(result.value for result in results) / len(results)
        parts = {
            name: sum(result.parts[name] for result in results) / len(results)
            for name in results[0].parts
        }
        return Result(value, any(result.tied for result in results), parts)

    def units(self, items: Sequence[Item]) -> int:
        """Return the number of rows."""
        return len(items)


@dataclass(frozen=True)
class Pairs(_Mean):
    """The better response must score higher than the other one.

    Attributes:
        tie: What equal scores count.
    """

    tie: float

    def compared(self, item: Item) -> list[tuple[int, int]]:
        """Return the only pair."""
        return [(0, 1)]

    def result(self, item: Item, scores: Scores) -> Result:
        """Return 1 for the better response, 0 for the other one."""
        margin = scores.margin(0, 1)
        return Result(self.tie if margin == 0 else float(margin > 0), margin == 0, {})

    def chance(self, items: Sequence[Item]) -> float | None:
        """Return one half."""
        return 0.5


class Best(_Mean):
    """The response that scores highest counts by its grade, see `best_result`."""

    def compared(self, item: Item) -> list[tuple[int, int]]:
        """Return all pairs."""
        return _all_pairs(item)

    def result(self, item: Item, scores: Scores) -> Result:
        """Return the grade of the response that scores highest."""
        value = best_result(scores.values, item.grades)
        top = max(scores.values)
        grades = {g for g, score in zip(item.grades, scores.values, strict=True) if score == top}
        return Result(value, len(grades) > 1, {})

    def chance(self, items: Sequence[Item]) -> float | None:
        """Return the mean grade of a response."""
        return sum(sum(item.grades) / len(item.grades) for item in items) / len(items)


class Styled(_Mean):
    """Three better and three worse responses in the same three styles: nine comparisons a row."""

    def compared(self, item: Item) -> list[tuple[int, int]]:
        """Return every better response with every worse one."""
        return [(i, STYLES + j) for i in range(STYLES) for j in range(STYLES)]

    def result(self, item: Item, scores: Scores) -> Result:
        """Return the mean of the shares hard, normal and easy."""
        margins = [[scores.margin(i, STYLES + j) for j in range(STYLES)] for i in range(STYLES)]
        parts = asdict(style_results(margins))
        tied = any(margin == 0 for row in margins for margin in row)
        return Result(sum(parts.values()) / len(parts), tied, parts)

    def chance(self, items: Sequence[Item]) -> float | None:
        """Return one half."""
        return 0.5


class Ties:
    """The subset Ties of RewardBench 2, see `ties_scores`; rows are named `ref:7` and `tied:7`."""

    def compared(self, item: Item) -> list[tuple[int, int]]:
        """Return all pairs."""
        return _all_pairs(item)

    def result(self, item: Item, scores: Scores) -> Result:
        """Return whether every correct answer scores higher than every wrong one."""
        gap = _ties_row(item, scores).gap
        return Result(float(gap > 0), gap == 0, {})

    def total(self, items: Sequence[Item], scores: Sequence[Scores]) -> Result:
        """Return the weighted score and its terms."""
        rows: dict[str, dict[str, TiesRow]] = {"ref": {}, "tied": {}}
        for item, own in zip(items, scores, strict=True):
            kind, prompt = item.name.split(":")
            rows[kind][prompt] = _ties_row(item, own)
        measured = asdict(ties_scores(rows["ref"], rows["tied"]))
        tied = any(row.gap == 0 for kind in rows.values() for row in kind.values())
        return Result(measured.pop("score"), tied, measured)

    def chance(self, items: Sequence[Item]) -> float | None:
        """Return None: how large gaps are beside spreads depends on the distribution."""
        return None

    def units(self, items: Sequence[Item]) -> int:
        """Return the number of prompts, which have up to two rows."""
        return len({item.name.split(":")[1] for item in items})


def _all_pairs(item: Item) -> list[tuple[int, int]]:
    return list(combinations(range(len(item.responses)), 2))


def _ties_row(item: Item, scores: Scores) -> TiesRow:
    sides: dict[bool, list[float]] = {True: [], False: []}
    for grade, value in zip(item.grades, scores.values, strict=True):
        sides[grade > 0].append(value)
    return TiesRow(sides[True], sides[False])
