"""The numbers behind the study's figures, as tables for those who do not see or point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from westofn.report.numbers import MISSING, decimal, signed
from westofn.report.tables import Cell, DataTable, Row
from westofn.study.catalogue import ACCURACIES, METRICS, Metric
from westofn.study.means import Cell as Mean
from westofn.study.means import having_table, table, with_main
from westofn.study.pages.families import Family
from westofn.study.pages.findings import METHOD_NAMES, PERCENT
from westofn.study.pages.points import (
    ROUND_METRICS,
    STUDENTS,
    THEOREM_LINES,
    differences,
    family_runs,
    pool_sizes,
    round_rows,
    size_runs,
)
from westofn.study.pages.results import seeds_of
from westofn.study.records import Run

FIT_COLUMNS = {
    "alpha": "α",
    "beta": "β",
    "largest_distance": "largest d",
    "measured_peak": "d of the highest gold",
    "gold_at_start": "gold at d = 0",
    "gold_at_peak": "highest gold",
    "gold_at_end": "gold at the end",
}
FIT = Metric("", 1.0, 2)


def family(runs: Sequence[Run], family: Family) -> DataTable:
    """The paired differences of a family."""
    metrics = [METRICS[key] for key in family.metrics]
    return DataTable(
        f"Differences to {family.against}, {seeds_of(family_runs(runs, family), runs)}",
        [f"{m.name}, {'points' if m.is_share else 'gold reward'}" for m in metrics],
        [
            Row(
                row.title,
                [_cell(row.differences.get(m), METRICS[m], sign=True) for m in family.metrics],
            )
            for row in differences(runs, family)
        ],
    )


def pool_size(runs: Sequence[Run]) -> DataTable:
    """Right labels and the student's differences by N."""
    return DataTable(
        f"By pool size, {seeds_of(size_runs(runs), runs)}",
        ["right labels, %", *(f"{METRICS[m].name} less HF50's, points" for m in ACCURACIES)],
        [
            Row(
                f"N = {n}",
                [
                    _cell(row.means.get("label_accuracy"), METRICS["label_accuracy"]),
                    *(_cell(row.differences.get(m), METRICS[m], sign=True) for m in ACCURACIES),
                ],
            )
            for n, row in pool_sizes(runs)
        ],
    )


def theorem(runs: Sequence[Run]) -> DataTable:
    """Probabilities and bounds by N, then by the base model's confidence."""
    bins = table(runs, "confidence", ("bin",))
    named: list[tuple[str, dict[str, Any]]] = [
        *((f"N = {row['n']}", row) for row in table(runs, "theorem", ("n",))),
        *((f"{row['bin'] + 1}. of {len(bins)} bins of P_θ", row) for row in bins),
    ]
    return DataTable(
        f"Means over {seeds_of(having_table(runs, 'theorem'), runs)}",
        [f"{name}, %" for name in THEOREM_LINES.values()],
        [Row(name, [_cell(row.get(key), PERCENT) for key in THEOREM_LINES]) for name, row in named],
    )


def overoptimisation(runs: Sequence[Run]) -> DataTable:
    """The fitted curves and the measured peaks, a student and method a row."""
    seeds = seeds_of(having_table(runs, "fits"), runs)
    return DataTable(
        f"Means over {seeds} of each seed's own fit and peak",
        list(FIT_COLUMNS.values()),
        [
            Row(
                f"{STUDENTS.get(row['student'], row['student'])}, "
                f"{METHOD_NAMES.get(row['method'], row['method'])}",
                [_cell(row.get(key), FIT) for key in FIT_COLUMNS],
            )
            for row in table(runs, "fits", ("method", "student"))
        ],
    )


def rounds(runs: Sequence[Run]) -> DataTable:
    """The main pipeline's means by round."""
    return DataTable(
        f"Means over {seeds_of(with_main(runs), runs)}",
        [METRICS[key].title for key in ROUND_METRICS],
        [
            Row(row.title, [_cell(row.means.get(key), METRICS[key]) for key in ROUND_METRICS])
            for row in round_rows(runs, ROUND_METRICS)
        ],
    )


def _cell(mean: Mean | None, metric: Metric, *, sign: bool = False) -> Cell:
    """A mean in the metric's unit with the ends of its interval below it."""
    if mean is None:
        return Cell(MISSING)
    write = signed if sign else decimal
    text = write(metric.scale * mean.mean, metric.digits)
    if mean.half is None:
        return Cell(text)
    ends = [decimal(metric.scale * end, metric.digits) for end in (mean.low, mean.high)]
    return Cell(text, " to ".join(ends))
