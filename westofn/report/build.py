"""Build everything that the report stage writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from westofn.artifacts.atomic import write_bytes
from westofn.artifacts.json_file import write_json, write_records
from westofn.report.figures import Figure, build_figures, figure_png
from westofn.report.inputs import ReportInputs
from westofn.report.metrics import collect_metrics, headlines
from westofn.report.page import render_page
from westofn.report.plots import arm_name, plot_records


@dataclass(frozen=True)
class ReportPaths:
    """Where the report's files go.

    Attributes:
        metrics: `metrics.json`, see `collect_metrics`.
        headlines: `headlines.json`, see `headlines`.
        plots: Folder of the plot records, one JSON a plot; the PNGs go to its folder `png`.
        page: `report.html`.
    """

    metrics: Path
    headlines: Path
    plots: Path
    page: Path


def build_report(inputs: ReportInputs, out: ReportPaths) -> None:
    """Write metrics.json, headlines.json, plot records, PNGs and the page.

    Equal inputs give equal bytes.

    A plot without data has an empty list of records and no PNG.

    Raises:
        DataError: Inputs contradict each other, or a file cannot be written.
    """
    records = plot_records(inputs)
    figures = build_figures(records, [arm_name(name) for name in inputs.palette_order])
    page = render_page(inputs, records, figures)
    metrics = collect_metrics(inputs)
    for name, rows in records.items():
        write_records(rows, out.plots / f"{name}.json")
    write_pngs(figures, out.plots / "png")
    write_bytes(page.encode(), out.page)
    write_json(metrics, out.metrics)
    write_json(headlines(metrics), out.headlines)


def write_pngs(figures: Sequence[Figure], folder: Path) -> None:
    """Write each figure as KEY.png; one without panels has none, and an old one goes."""
    for figure in figures:
        path = folder / f"{figure.key}.png"
        if figure.panels:
            write_bytes(figure_png(figure), path)
        else:
            path.unlink(missing_ok=True)
