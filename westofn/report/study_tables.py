"""The numbers behind the study's figures, as tables for those who do not see or point."""

from __future__ import annotations

from collections.abc import Sequence

from westofn.report.numbers import MISSING, decimal, signed
from westofn.report.study_findings import METHOD_NAMES, ROUND_METRICS, metric_name
from westofn.report.study_records import (
    ACCURACIES,
    STUDENTS,
    THEOREM_LINES,
    Family,
    differences,
    family_runs,
    pool_sizes,
    round_rows,
    size_runs,
)
from westofn.report.study_results import METRICS, Run, having_table, of_seeds, table
from westofn.report.study_results import Cell as Mean
from westofn.report.tables import Cell, DataTable, Row

FIT_COLUMNS = {
    "alpha": "α",
    "beta": "β",
    "largest_distance": "largest d",
    "measured_peak": "d of the highest gold",
    "gold_at_start": "gold at d = 0",
    "gold_at_peak": "highest gold",
    "gold_at_end": "gold at the end",
}


def family(runs: Sequence[Run], family: Family) -> DataTable:
    """The paired differences of a family."""
    heads = [f"{metric_name(metric)}, {_points(metric)}" for metric in family.metrics]
    found = [
        Row(
            row.title,
            [
                _cell(row.differences.get(metric), *METRICS[metric][1:], sign=True)
                for metric in family.metrics
            ],
        )
        for row in differences(runs, family)
    ]
    seeds = of_seeds(family_runs(runs, family), runs)
    return DataTable(f"Differences to {family.against}, {seeds}", heads, found)


def pool_size(runs: Sequence[Run]) -> DataTable:
    """Right labels and the student's differences by N."""
    heads = ["right labels, %", *(f"{metric_name(m)} less HF50's, points" for m in ACCURACIES)]
    found = [
        Row(
            f"N = {n}",
            [
                _cell(row.means.get("label_accuracy"), 100.0, 1),
                *(_cell(row.differences.get(m), 100.0, 1, sign=True) for m in ACCURACIES),
            ],
        )
        for n, row in pool_sizes(runs)
    ]
    return DataTable(f"By pool size, {of_seeds(size_runs(runs), runs)}", heads, found)


def theorem(runs: Sequence[Run]) -> DataTable:
    """Probabilities and bounds by N, then by the base model's confidence."""
    rows = [(f"N = {row['n']}", row) for row in table(runs, "theorem", ("n",))]
    bins = table(runs, "confidence", ("bin",))
    rows += [(f"{row['bin'] + 1}. of {len(bins)} bins of P_θ", row) for row in bins]
    heads = [f"{name}, %" for name in THEOREM_LINES.values()]
    found = [
        Row(name, [_cell(row.get(key), 100.0, 1) for key in THEOREM_LINES]) for name, row in rows
    ]
    seeds = of_seeds(having_table(runs, "theorem"), runs)
    return DataTable(f"Means over {seeds}", heads, found)


def overoptimisation(runs: Sequence[Run]) -> DataTable:
    """The fitted curves and the measured peaks, a student and method a row."""
    found = [
        Row(
            ", ".join(
                names.get(row[key], row[key])
                for key, names in (("student", STUDENTS), ("method", METHOD_NAMES))
            ),
            [_cell(row.get(key), 1.0, 2) for key in FIT_COLUMNS],
        )
        for row in table(runs, "fits", ("method", "student"))
    ]
    seeds = of_seeds(having_table(runs, "fits"), runs)
    return DataTable(
        f"Means over {seeds} of each seed's own fit and peak", list(FIT_COLUMNS.values()), found
    )


def rounds(runs: Sequence[Run]) -> DataTable:
    """The main pipeline's means by round."""
    heads = [title for title, _, _ in ROUND_METRICS.values()]
    found = [
        Row(row.title, [_cell(row.means.get(m), *ROUND_METRICS[m][1:]) for m in ROUND_METRICS])
        for row in round_rows(runs, tuple(ROUND_METRICS))
    ]
    return DataTable(f"Means over {of_seeds(runs, runs)}", heads, found)


def _points(metric: str) -> str:
    return "points" if METRICS[metric][1] == 100.0 else "gold reward"


def _cell(mean: Mean | None, scale: float, digits: int, *, sign: bool = False) -> Cell:
    if mean is None:
        return Cell(MISSING)
    write = signed if sign else decimal
    text = write(scale * mean.mean, digits)
    if mean.half is None:
        return Cell(text)
    ends = [decimal(scale * end, digits) for end in (mean.low, mean.high)]
    return Cell(text, " to ".join(ends))
