"""study.json: every seed's records, and what they say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, stdev
from typing import Any

from westofn.artifacts.json_file import read_json
from westofn.core.intervals import (
    MeanInterval,
    detectable_difference,
    mean_interval,
    outcome,
    side_of,
)
from westofn.errors import DataError
from westofn.report.inputs import Record
from westofn.report.numbers import signed
from westofn.report.study_catalogue import Group

METRICS: dict[str, tuple[str, float, int]] = {
    "accuracy": ("held-out accuracy, %", 100.0, 1),
    "high_confidence_accuracy": ("accuracy on sure pairs, %", 100.0, 1),
    "on_policy_accuracy": ("on-policy accuracy, %", 100.0, 1),
    "best_of_n_gold": ("best-of-64 gold", 1.0, 2),
    "best_of_n_win_rate": ("best-of-64 win rate, %", 100.0, 1),
    "ece": ("calibration error, %", 100.0, 1),
    "label_accuracy": ("right labels, %", 100.0, 1),
}
"""Metric -> its title, the factor of its unit, and the digits that are shown."""

POWER_UNITS: dict[str, tuple[str, float, int]] = {
    "accuracy": ("points of held-out accuracy", 100.0, 1),
    "on_policy_accuracy": ("points of on-policy accuracy", 100.0, 1),
    "best_of_n_gold": ("of best-of-64 gold", 1.0, 2),
    "best_of_n_win_rate": ("points of best-of-64 wins", 100.0, 1),
    "label_accuracy": ("points of right labels", 100.0, 1),
    "rl_gold": ("of RL gold", 1.0, 2),
}
"""Metric -> what a power line calls it, the factor of its unit, and the digits."""

Run = dict[str, Any]
"""One seed: `main` (metrics.json), `arms` by part and name, `tables` by name."""

RUN_KEYS = ("main", "arms", "tables")
ONE_SEED = "unknown, one seed"
"""Instead of an interval."""


@dataclass(frozen=True)
class Study:
    """What study.json holds.

    Attributes:
        seeds: Values of `seed`, in order.
        runs: Their runs, in the same order; empty before the first `make study`.
        world: Settings of the embedded world that they share; empty in files of earlier versions.
    """

    seeds: Sequence[int]
    runs: Sequence[Run]
    world: Mapping[str, float] = field(default_factory=dict)


def read_study(path: Path) -> Study:
    """Read study.json.

    Raises:
        DataError: The file is missing or broken, or its runs are not those of its seeds.
    """
    found = read_json(path, "make study")
    seeds, runs = found.get("seeds"), found.get("runs")
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        raise DataError(f"{path}: seeds: needs a list of whole numbers; rerun make study")
    if not isinstance(runs, list) or len(runs) != len(seeds):
        count = len(runs) if isinstance(runs, list) else "no list of"
        raise DataError(f"{path}: {count} runs, needs one a seed, {len(seeds)}; rerun make study")
    for seed, run in zip(seeds, runs, strict=True):
        missing = [key for key in RUN_KEYS if not isinstance(_get(run, key), dict)]
        if missing:
            raise DataError(
                f"{path}: seed {seed}: {', '.join(missing)}: needs a JSON object; rerun make study"
            )
    world = found.get("world", {})
    if not isinstance(world, dict) or not all(type(v) in (int, float) for v in world.values()):
        raise DataError(f"{path}: world: needs a JSON object of numbers; rerun make study")
    return Study(seeds, runs, world)


def _get(run: object, key: str) -> object:
    return run.get(key) if isinstance(run, dict) else None


@dataclass(frozen=True)
class Cell:
    """A mean over seeds.

    Attributes:
        mean: Over the seeds.
        half: Half of the 95 % interval; None where one seed leaves the spread unknown.
        detectable: Of a difference, the smallest that these seeds would see in four of five
            repeats; None where it is not known.
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
    found: MeanInterval = mean_interval(values)
    return Cell(found.mean, found.half, detectable_difference(stdev(values), len(values)))


def against_paper(difference: Cell, reported: float, scale: float, digits: int) -> str:
    """A verdict on a difference that the paper reports too: what its interval excludes.

    Args:
        difference: With its interval.
        reported: The paper's difference, in the same unit, not zero.
        scale: The factor of the unit that is shown.
        digits: That are shown.

    >>> against_paper(Cell(-0.01, 0.017), 0.016, 100.0, 1)
    "smaller than the paper's: excludes +1.6, includes zero"
    >>> against_paper(Cell(0.061, 0.03), 0.052, 100.0, 1)
    "reproduces: excludes zero, includes the paper's +5.2"
    """
    if difference.half is None:
        return ONE_SEED
    paper = signed(scale * reported, digits)
    return {
        "reproduces": f"reproduces: excludes zero, includes the paper's {paper}",
        "smaller but there": f"smaller than the paper's, but there: excludes zero and {paper}",
        "larger": f"larger than the paper's: excludes zero and {paper}",
        "smaller": f"smaller than the paper's: excludes {paper}, includes zero",
        "not told apart": f"not told apart: includes both zero and the paper's {paper}",
        "reversed": f"reversed: excludes zero on the other side, and the paper's {paper}",
    }[outcome(difference.low, difference.high, reported)]


NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def in_words(count: int) -> str:
    """A small count as a word.

    >>> in_words(9), in_words(12)
    ('nine', '12')
    """
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def of_seeds(known: Sequence[Run], runs: Sequence[Run]) -> str:
    """How many seeds a table has, and of how many where some lack its part.

    >>> of_seeds([{}] * 3, [{}] * 9), of_seeds([{}], [{}])
    ('3 of 9 seeds', '1 seed')
    """
    if len(known) < len(runs):
        return f"{len(known)} of {len(runs)} seeds"
    return f"{len(runs)} {'seed' if len(runs) == 1 else 'seeds'}"


def having_table(runs: Sequence[Run], name: str) -> list[Run]:
    """The seeds that have rows of a part's table."""
    return [run for run in runs if run["tables"].get(name)]


def power_line(
    found: Sequence[Row], against: str, seeds: int, metrics: Sequence[str] | None = None
) -> str:
    """The smallest effect that a table's seeds could have seen, a sentence; empty without one.

    Of each metric it is the middle one of the table's rows: rows differ in their spread.

    Args:
        found: Rows with differences.
        against: What the differences are to.
        seeds: How many the differences are over.
        metrics: Keys of POWER_UNITS in order; all of them by default.
    """
    sizes = []
    for metric in POWER_UNITS if metrics is None else metrics:
        cells = [row.differences[metric] for row in found if metric in row.differences]
        known = [cell.detectable for cell in cells if cell.detectable is not None]
        if known and metric in POWER_UNITS:
            unit, scale, digits = POWER_UNITS[metric]
            sizes.append(f"±{scale * median(known):.{digits}f} {unit}")
    if not sizes:
        return ""
    which = " (for the row of middle spread)" if sum(bool(r.differences) for r in found) > 1 else ""
    return (
        f"With {in_words(seeds)} seeds, a difference to {against} below {' / '.join(sizes)} would "
        f"be seen in fewer than four of five repeats{which}."
    )


@dataclass(frozen=True)
class Row:
    """One arm of a group over the seeds.

    Attributes:
        arm: Its name.
        title: As shown.
        means: By metric.
        differences: By metric, to the group's reference in the same seed; empty for that itself.
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
    found = []
    runs = having_parts(runs, group)
    for arm, title in group.arms.items():
        records = [run["arms"][group.part].get(arm) for run in runs]
        others = [run["arms"][group.against_part].get(group.against) for run in runs]
        if not records or not all(records):
            continue
        same = arm == group.against and group.part == group.against_part
        found.append(
            Row(
                arm,
                title,
                _cells(METRICS, records),
                {} if same or not all(others) else _cells(METRICS, records, others),
            )
        )
    return found


def _cells(
    metrics: Sequence[str] | Mapping[str, Any],
    records: Sequence[Record],
    others: Sequence[Record] | None = None,
) -> dict[str, Cell]:
    cells = {}
    for metric in metrics:
        if others is None:
            values = [record.get(metric) for record in records]
        else:
            pairs = zip(records, others, strict=True)
            values = [
                a[metric] - b[metric] if metric in a and metric in b else None for a, b in pairs
            ]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if len(numbers) == len(values):
            cells[metric] = cell(numbers)
    return cells


def table(runs: Sequence[Run], name: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """A part's table over the seeds: rows with equal keys become one, numbers become cells."""
    grouped: dict[tuple[Any, ...], list[Record]] = {}
    for run in runs:
        for record in run["tables"].get(name, []):
            grouped.setdefault(tuple(record.get(key) for key in keys), []).append(record)
    found = []
    for values, records in grouped.items():
        row: dict[str, Any] = dict(zip(keys, values, strict=True))
        for metric in dict.fromkeys(key for record in records for key in record):
            numbers = [record[metric] for record in records if metric in record]
            if metric not in keys and all(isinstance(number, int | float) for number in numbers):
                row[metric] = cell([float(number) for number in numbers])
        row["seeds"] = len(records)
        found.append(row)
    return found


def table_difference(
    runs: Sequence[Run], name: str, metric: str, first: Record, second: Record
) -> Cell | None:
    """A metric at one row of a part's table less that at another, paired by seed.

    Args:
        runs: Those without the table are left out.
        name: Of the table.
        metric: What is subtracted.
        first: Keys and values of the one row, such as `{"n": 64}`.
        second: Those of the other.

    Returns:
        None where a seed that has the table lacks one of the rows, or no seed has the table.
    """
    values = []
    for run in runs:
        if name not in run["tables"]:
            continue
        pair = [_value(run["tables"][name], metric, where) for where in (first, second)]
        if pair[0] is None or pair[1] is None:
            return None
        values.append(pair[0] - pair[1])
    return cell(values) if values else None


def _value(records: Sequence[Record], metric: str, where: Record) -> float | None:
    for record in records:
        if metric in record and all(record.get(key) == value for key, value in where.items()):
            return float(record[metric])
    return None


MAIN_ARMS = {
    "hf50": "HF50",
    "hf100": "HF100",
    "prior": "HF50 + covariance prior",
    "k1": "West-of-N, round 1",
    "k2": "West-of-N, round 2",
    "k3": "West-of-N, round 3",
}


def with_main(runs: Sequence[Run]) -> list[Run]:
    """The runs that hold the main pipeline; the others have the headline's arms alone."""
    return [run for run in runs if run["main"]]


def main_rows(runs: Sequence[Run], metrics: Sequence[str] | Mapping[str, Any]) -> list[Row]:
    """The main pipeline's arms with the metrics of metrics.json."""
    found = []
    runs = with_main(runs)
    for arm, title in MAIN_ARMS.items():
        records = [run["main"].get(arm) for run in runs]
        if records and all(records):
            others = [run["main"].get("hf50") for run in runs]
            same = arm == "hf50" or not all(others)
            differences = {} if same else _cells(metrics, records, others)
            found.append(Row(arm, title, _cells(metrics, records), differences))
    return found


def main_difference(runs: Sequence[Run], arm: str, other: str, metric: str) -> Cell | None:
    """A metric of one of the main pipeline's arms less another's; None where a seed lacks one."""
    pairs = [(run["main"].get(arm, {}), run["main"].get(other, {})) for run in with_main(runs)]
    if not pairs or not all(metric in first and metric in second for first, second in pairs):
        return None
    return cell([first[metric] - second[metric] for first, second in pairs])
