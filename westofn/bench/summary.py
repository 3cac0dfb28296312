"""Scores of subsets, sections and a whole benchmark, with intervals and baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from westofn.bench.catalogue import REWARDBENCH_SECTIONS, Benchmark
from westofn.bench.items import Item, Scores
from westofn.core.best_of_n import best_of_n
from westofn.core.intervals import share_interval

OVERALL = "overall"


@dataclass(frozen=True)
class Summary:
    """One line of a result.

    Attributes:
        name: Subset or section, or `OVERALL`.
        rows: Number of scored rows.
        accuracy: The score, in [0, 1] (the last digits of Ties may exceed 1).
        interval: Its interval of 95 %.
        tied: Number of rows that equal scores decided.
        longest: The score of always preferring the longer response.
        shortest: The score of always preferring the shorter response.
        chance: The expected score of random scores; None if it depends on their distribution.
        parts: What the rule measures apart, such as hard, normal and easy.
        effective: Number of rows whose unweighted mean would be as certain.
    """

    name: str
    rows: int
    accuracy: float
    interval: tuple[float, float]
    tied: int
    longest: float
    shortest: float
    chance: float | None
    parts: Mapping[str, float]
    effective: float


@dataclass(frozen=True)
class BestOfK:
    """What the choice among k responses is worth on average.

    Attributes:
        k: Number of responses.
        accuracy: Grade of the response that the model chooses, averaged over subsets of size k.
        longest: The same for the longest response.
        best: The same for the best response.
    """

    k: int
    accuracy: float
    longest: float
    best: float


@dataclass(frozen=True)
class Summaries:
    """The scores of a benchmark.

    Attributes:
        subsets: One summary for each subset, sorted by name.
        sections: One for each section, in the benchmark's order.
        overall: The whole.
        best_of_k: For k = 1, 2, 4 … up to all responses; empty for other benchmarks.
    """

    subsets: tuple[Summary, ...]
    sections: tuple[Summary, ...]
    overall: Summary
    best_of_k: tuple[BestOfK, ...]


def summarise(benchmark: Benchmark, items: Sequence[Item], scores: Sequence[Scores]) -> Summaries:
    """Summarise the rows of a benchmark.

    Args:
        benchmark: The benchmark.
        items: The scored rows, at least one.
        scores: Their scores.
    """
    by_subset: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        by_subset.setdefault(item.subset, []).append(index)
    subsets = tuple(
        _subset(benchmark, name, [items[i] for i in rows], [scores[i] for i in rows])
        for name, rows in sorted(by_subset.items())
    )
    sections = _sections(benchmark, subsets)
    overall = _overall(benchmark, subsets, sections)
    curve = _best_of_k(items, scores) if benchmark.format == "best-of-k" else ()
    return Summaries(subsets, sections, overall, curve)


def _subset(
    benchmark: Benchmark, name: str, items: Sequence[Item], scores: Sequence[Scores]
) -> Summary:
    rule = benchmark.rule_of(name)
    total = rule.total(items, scores)
    lengths = [item.lengths for item in items]
    tied = sum(rule.result(item, own).tied for item, own in zip(items, scores, strict=True))
    units = rule.units(items)
    return Summary(
        name,
        len(items),
        total.value,
        _interval(total.value, units),
        tied,
        rule.total(items, lengths).value,
        rule.total(items, [length.negated for length in lengths]).value,
        rule.chance(items),
        total.parts,
        float(units),
    )


def _interval(score: float, rows: float) -> tuple[float, float]:
    """Return the interval of a score, which leaves [0, 1] by its last digits alone."""
    return share_interval(min(max(score, 0.0), 1.0), rows)


def _sections(benchmark: Benchmark, subsets: Sequence[Summary]) -> tuple[Summary, ...]:
    members: dict[str, list[Summary]] = {}
    for subset in subsets:
        if section := benchmark.section(subset.name):
            members.setdefault(section, []).append(subset)
    order = [*REWARDBENCH_SECTIONS, *sorted(members)] if benchmark.format == "rewardbench" else []
    names = dict.fromkeys(name for name in (*order, *members) if name in members)
    return tuple(
        _combined(name, members[name], [_weight(benchmark, name, s) for s in members[name]])
        for name in names
    )


def _weight(benchmark: Benchmark, section: str, subset: Summary) -> float:
    """Return the weight of a subset in its section: RewardBench's own, else the number of rows."""
    if benchmark.format == "rewardbench":
        return REWARDBENCH_SECTIONS[section][subset.name]
    return subset.rows


def _overall(
    benchmark: Benchmark, subsets: Sequence[Summary], sections: Sequence[Summary]
) -> Summary:
    if benchmark.overall == "mean of sections" and sections:
        return _combined(OVERALL, sections, [1.0] * len(sections))
    if benchmark.overall == "mean of subsets":
        return _combined(OVERALL, subsets, [1.0] * len(subsets))
    return _combined(OVERALL, subsets, [subset.rows for subset in subsets])


def _combined(name: str, members: Sequence[Summary], weights: Sequence[float]) -> Summary:
    """Return the weighted mean of summaries.

    The effective number of rows is (Σ w)² / Σ (w² / n) (Kish 1965, Survey Sampling, 11.7): the
    unweighted mean of so many rows has the variance of the weighted one.
    """
    whole = sum(weights)

    def mean(values: Sequence[float]) -> float:
        return sum(w * v for w, v in zip(weights, values, strict=True)) / whole

    spread = sum(w * w / member.effective for w, member in zip(weights, members, strict=True))
    effective = whole * whole / spread
    accuracy = mean([member.accuracy for member in members])
    chances = [member.chance for member in members if member.chance is not None]
    shared = set.intersection(*(set(member.parts) for member in members))
    return Summary(
        name,
        sum(member.rows for member in members),
        accuracy,
        _interval(accuracy, effective),
        sum(member.tied for member in members),
        mean([member.longest for member in members]),
        mean([member.shortest for member in members]),
        mean(chances) if len(chances) == len(members) else None,
        {
            part: mean([m.parts[part] for m in members])
            for part in members[0].parts
            if part in shared
        },
        effective,
    )


def _best_of_k(items: Sequence[Item], scores: Sequence[Scores]) -> tuple[BestOfK, ...]:
    """Return the curve over k, up to the fewest responses that a row has."""
    fewest = min(len(item.responses) for item in items)
    ks = [*(2**power for power in range(fewest.bit_length()) if 2**power < fewest), fewest]

    def curve(proxies: Sequence[Sequence[float]]) -> list[float]:
        values = [
            best_of_n([proxy], [item.grades], ks)[0]
            for item, proxy in zip(items, proxies, strict=True)
        ]
        return [float(sum(column) / len(values)) for column in zip(*values, strict=True)]

    columns = (
        curve([own.values for own in scores]),
        curve([item.lengths.values for item in items]),
        curve([item.grades for item in items]),
    )
    return tuple(BestOfK(k, *row) for k, *row in zip(ks, *columns, strict=True))
