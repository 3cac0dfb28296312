"""How time and memory grow with N, the number of prompts, and the lengths of prompt and response.

    python -m benchmarks.speed.curves

Writes benchmarks/curves.json, the table of docs/performance.md and docs/figures/cost.svg. Every
point is a process of its own, so that its peak memory is its own. One thread.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import altair as alt
import numpy as np
import torch
import typer
import vl_convert

from benchmarks.page import replace_between
from benchmarks.speed import memory
from benchmarks.speed.models import FAMILIES, SIZES, Case, case_of
from benchmarks.speed.record import machine, table
from benchmarks.speed.sampling import drawn
from benchmarks.speed.tables import make_tables
from westofn.artifacts.atomic import write_bytes
from westofn.models.scoring import score_pools
from westofn.report.figures import PNG_THEME

RECORD, PAGE = Path("benchmarks/curves.json"), Path("docs/performance.md")
FIGURE = Path("docs/figures/cost.svg")
EMBEDDED = SIZES[0]
FAMILY = "encoder_decoder"
AXES: dict[str, tuple[str, Sequence[int]]] = {
    "candidates": ("candidates N of a prompt", (2, 8, 32, 128, 512)),
    "prompts": ("prompts", (1, 8, 64, 256)),
    "prompt": ("words of the longest prompt", (16, 64, 256, 1024)),
    "response": ("words of the longest response", (4, 16, 64, 128)),
}
"""Field of `Size` -> its name as shown, and its values; the others stay as in `EMBEDDED`."""
LOOPS: dict[str, Callable[[Case], object]] = {
    "sample and log π": drawn,
    "score pools": lambda case: score_pools(case.scorer(), case.prompts, case.pools),
}
TABLES = "tables"
TABLE_PROMPTS = (10**2, 10**3, 10**4, 10**5)
TABLE_STEPS = ("won_select", "filter")


def main(
    out: Annotated[Path, typer.Option(help="where the figures go; replaced")] = RECORD,
    page: Annotated[Path, typer.Option(help="page whose table is replaced")] = PAGE,
    figure: Annotated[Path, typer.Option(help="figure that is replaced")] = FIGURE,
) -> None:
    """Measure every point; write the figures, the table and the drawing."""
    points = [*_model_points(), *_table_points()]
    record = {"machine": machine(), "points": points}
    write_bytes((json.dumps(record, indent=1) + "\n").encode(), out)
    replace_between(page, "curves", table(rows_of(points)))
    svg = vl_convert.vegalite_to_svg(_drawing(points).to_dict(), config=PNG_THEME)
    write_bytes(svg.encode(), figure)


def exponent(points: Sequence[dict[str, Any]], key: str) -> float | None:
    """Return the slope of log `key` over log x, by least squares over the upper half of the axis.

    The upper half are the points from the geometric mean of the ends on. None where a value is 0,
    as memory beyond the imports may be.
    """
    middle = math.sqrt(points[0]["x"] * points[-1]["x"])
    upper = [point for point in points if point["x"] >= middle]
    if min(point[key] for point in upper) <= 0:
        return None
    x, y = (np.log([point[name] for point in upper]) for name in ("x", key))
    return float(np.polyfit(x, y, 1)[0])


def rows_of(points: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the rows of the page's table: a row a curve, with its ends and exponents."""
    rows = [
        ["loop", "against", "from, to", "time, s", "exponent", "memory, MiB", "exponent"],
        ["---", "---", "---", "---", "---:", "---", "---:"],
    ]
    curves = dict.fromkeys((point["loop"], point["axis"]) for point in points)
    for loop, axis in curves:
        curve = [point for point in points if (point["loop"], point["axis"]) == (loop, axis)]
        first, last = curve[0], curve[-1]
        slopes = [exponent(curve, key) for key in ("seconds", "mebibytes")]
        shown = ["–" if slope is None else f"{slope:.2f}" for slope in slopes]
        rows.append(
            [
                loop,
                axis,
                f"{first['x']:,}, {last['x']:,}",
                f"{first['seconds']:.3g}, {last['seconds']:.3g}",
                shown[0],
                f"{first['mebibytes']}, {last['mebibytes']}",
                shown[1],
            ]
        )
    return rows


def _model_points() -> list[dict[str, Any]]:
    points = []
    for loop in LOOPS:
        for axis, (title, values) in AXES.items():
            for value in values:
                figures = _process([loop, axis, str(value)])
                points.append(_point(f"{FAMILIES[FAMILY]}: {loop}", title, value, figures))
    return points


def _table_points() -> list[dict[str, Any]]:
    points = []
    for prompts in TABLE_PROMPTS:
        with tempfile.TemporaryDirectory(prefix="curves-") as name:
            folder = Path(name) / "tables"
            make_tables(folder, prompts, EMBEDDED.candidates)
            base, *steps = memory.measure(folder, ("nothing", *TABLE_STEPS))
        for step in steps:
            figure = {
                key: round(max(0, step[key] - base[key]), 1) for key in ("seconds", "mebibytes")
            }
            points.append(_point(f"{TABLES}: {step['step']}", "prompts × 64", prompts, figure))
    return sorted(points, key=lambda point: point["loop"])


def _point(loop: str, axis: str, value: int, figures: dict[str, float]) -> dict[str, Any]:
    point = {"loop": loop, "axis": axis, "x": value, **figures}
    print(point, flush=True)
    return point


def _process(arguments: list[str]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.speed.curves", "point", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _measure_point(loop: str, axis: str, value: str) -> None:
    """Run a loop on the smallest size, then once on the point's, and print figures."""
    torch.set_num_threads(1)
    smallest = replace(EMBEDDED, prompts=1, candidates=2)
    LOOPS[loop](case_of("smallest", FAMILY, smallest))  # what is computed once in a process
    changes: dict[str, Any] = {axis: int(value)}
    case = case_of("point", FAMILY, replace(EMBEDDED, **changes))
    before, started = memory.peak_mebibytes(), time.process_time()
    LOOPS[loop](case)
    seconds = round(time.process_time() - started, 4)
    print(json.dumps({"seconds": seconds, "mebibytes": memory.peak_mebibytes() - before}))


def _drawing(points: Sequence[dict[str, Any]]) -> alt.VConcatChart:
    """Time above, memory below; a panel an axis, a line a loop, both scales logarithmic."""
    axes = dict.fromkeys(point["axis"] for point in points)
    rows = [
        alt.hconcat(*(_panel(points, axis, key, title) for axis in axes))
        for key, title in (("seconds", "processor time, s"), ("mebibytes", "memory, MiB"))
    ]
    return alt.vconcat(*rows)


def _panel(points: Sequence[dict[str, Any]], axis: str, key: str, title: str) -> alt.Chart:
    rows = [point for point in points if point["axis"] == axis and point[key] > 0]
    panel: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("x:Q", title=axis, scale=alt.Scale(type="log", nice=False)),
            y=alt.Y(f"{key}:Q", title=title, scale=alt.Scale(type="log", nice=False)),
            color=alt.Color("loop:N", title=None, legend=alt.Legend(orient="bottom", columns=3)),
        )
        .properties(width=190, height=170)
    )
    return panel


if __name__ == "__main__":
    if sys.argv[1:2] == ["point"]:
        _measure_point(*sys.argv[2:])
    else:
        typer.run(main)
