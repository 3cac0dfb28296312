"""Means over the seeds of the study with their intervals, and differences paired by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import stdev
from typing import Any

from westofn.core.intervals import detectable_difference, mean_interval, side_of
from westofn.report.inputs import Record
from westofn.study.catalogue import MAIN_ARMS, METRICS, REFERENCE, Group
from westofn.study.records import Run

ONE_SEED = "unknown, one seed"
"""Instead of an interval."""


@dataclass(frozen=True)
class Cell:
    """A mean over seeds.

    Attributes:
        mean: Over the seeds.
        half: Half of the 95 % interval; None where one seed leaves the spread unknown.
        detectable: The smallest true difference that these seeds detect with a power of 80 %; None
            where it is not known.
    """

    mean: float
    half: float | None
    detectable: float | None = field(default=None, compare=False)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.mean - (self.half or 0.0)

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + (self.half or 0.0)

    @property
    def verdict(self) -> str:
        """above, below, or not told apart from zero; of a difference."""
        if self.half is None:
            return ONE_SEED
        side = side_of(self.low, self.high, 0.0)
        return "not told apart" if side == "around" else side


def cell(values: Sequence[float]) -> Cell:
    """Mean and 95 % t-interval.

    >>> cell([1.0, 2.0, 3.0]).verdict
    'not told apart'
    """
    if len(values) == 1:
        return Cell(values[0], None)
    interval = mean_interval(values)
    return Cell(interval.mean, interval.half, detectable_difference(stdev(values), len(values)))


def having_table(runs: Sequence[Run], name: str) -> list[Run]:
    """The seeds that have rows of a part's table."""
    return [run for run in runs if run["tables"].get(name)]


@dataclass(frozen=True)
class Row:
    """One arm of a group over the seeds.

    Attributes:
        arm: The name.
        title: The name that is shown.
        means: Mean of each metric.
        differences: Mean difference of each metric to the group's reference, paired by seed; empty
            for the reference.
    """

    arm: str
    title: str
    means: Mapping[str, Cell]
    differences: Mapping[str, Cell]


def having_parts(runs: Sequence[Run], group: Group) -> list[Run]:
    """The seeds that ran the parts of a group: ablations are of fewer seeds than the headline."""
    return [run for run in runs if {group.part, group.against_part} <= run["arms"].keys()]


def rows(runs: Sequence[Run], group: Group) -> list[Row]:
    """The arms of a group that every seed with these parts measured.

    A seed whose study was stopped may have the main pipeline's arms alone; it is left out here.
    """
    runs = having_parts(runs, group)
    arms = [run["arms"][group.part] for run in runs]
    references = [run["arms"][group.against_part].get(group.against) for run in runs]
    of_itself = group.against if group.part == group.against_part else ""
    return _arm_rows(group.arms, arms, references, METRICS, of_itself)


def main_rows(runs: Sequence[Run], metrics: Iterable[str]) -> list[Row]:
    """The main pipeline's arms with metrics of metrics.json."""
    arms = [run["main"] for run in with_main(runs)]
    references = [of_seed.get(REFERENCE) for of_seed in arms]
    return _arm_rows(MAIN_ARMS, arms, references, metrics, REFERENCE)


def _arm_rows(
    titles: Mapping[str, str],
    arms: Sequence[Mapping[str, Record]],
    references: Sequence[Record | None],
    metrics: Iterable[str],
    of_itself: str,
) -> list[Row]:
    """A row for each arm that all seeds measured.

    Args:
        titles: Arm -> its title.
        arms: For each seed the arms that it measured.
        references: For each seed what differences are taken to; None where it lacks it.
        metrics: Which metrics.
        of_itself: The arm that is the reference and has no difference; empty for none.
    """
    table_rows = []
    for arm, title in titles.items():
        records = [of_seed[arm] for of_seed in arms if of_seed.get(arm)]
        if not records or len(records) < len(arms):
            continue
        known = [record for record in references if record]
        paired = arm != of_itself and len(known) == len(records)
        differences = _differences(metrics, records, known) if paired else {}
        table_rows.append(Row(arm, title, _means(metrics, records), differences))
    return table_rows


def _means(metrics: Iterable[str], records: Sequence[Record]) -> dict[str, Cell]:
    """Mean of each metric that all records have."""
    return {
        metric: cell([float(record[metric]) for record in records])
        for metric in metrics
        if all(metric in record for record in records)
    }


def _differences(
    metrics: Iterable[str], records: Sequence[Record], others: Sequence[Record]
) -> dict[str, Cell]:
    """Mean difference of each metric that all records of both have."""
    return {
        metric: cell([float(a[metric] - b[metric]) for a, b in zip(records, others, strict=True)])
        for metric in metrics
        if all(metric in record for record in (*records, *others))
    }


def table(runs: Sequence[Run], name: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """A part's table over the seeds: rows with equal keys become one, numbers become cells."""
    grouped: dict[tuple[Any, ...], list[Record]] = {}
    for run in runs:
        for record in run["tables"].get(name, []):
            grouped.setdefault(tuple(record.get(key) for key in keys), []).append(record)
    return [
        {
            **dict(zip(keys, values, strict=True)),
            **_table_means(keys, records),
            "seeds": len(records),
        }
        for values, records in grouped.items()
    ]


def _table_means(keys: Sequence[str], records: Sequence[Record]) -> dict[str, Cell]:
    """Mean of each number that is no key, over the records that have it."""
    columns = dict.fromkeys(key for record in records for key in record if key not in keys)
    numbers = {
        column: [record[column] for record in records if column in record] for column in columns
    }
    return {
        column: cell([float(value) for value in values])
        for column, values in numbers.items()
        if all(isinstance(value, int | float) for value in values)
    }


def table_difference(
    runs: Sequence[Run], name: str, metric: str, first: Record, second: Record
) -> Cell | None:
    """A metric at one row of a part's table less that at another, paired by seed.

    Args:
        runs: The seeds; those without the table are left out.
        name: Name of the table.
        metric: What is subtracted.
        first: Keys and values of the one row, such as `{"n": 64}`.
        second: Keys and values of the other.

    Returns:
        None where a seed that has the table lacks one of the rows, or no seed has the table.
    """
    tables = [run["tables"][name] for run in runs if name in run["tables"]]
    pairs = [
        (_value(records, metric, first), _value(records, metric, second)) for records in tables
    ]
    values = [a - b for a, b in pairs if a is not None and b is not None]
    return cell(values) if values and len(values) == len(tables) else None


def _value(records: Sequence[Record], metric: str, where: Record) -> float | None:
    for record in records:
        if metric in record and all(record.get(key) == value for key, value in where.items()):
            return float(record[metric])
    return None


def with_main(runs: Sequence[Run]) -> list[Run]:
    """The runs that hold the main pipeline; the others have the headline's arms alone."""
    return [run for run in runs if run["main"]]


def main_difference(runs: Sequence[Run], arm: str, other: str, metric: str) -> Cell | None:
    """A metric of one of the main pipeline's arms less another's; None where a seed lacks one."""
    pairs = [(run["main"].get(arm, {}), run["main"].get(other, {})) for run in with_main(runs)]
    if not pairs or not all(metric in first and metric in second for first, second in pairs):
        return None
    return cell([first[metric] - second[metric] for first, second in pairs])
