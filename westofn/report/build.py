"""Build everything that the report stage writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from westofn.artifacts.atomic import write_bytes
from westofn.artifacts.json_file import write_json, write_records
from westofn.report.figures import Figure, build_figures, figure_png
from westofn.report.inputs import ReportInputs
from westofn.report.metrics import collect_metrics
from westofn.report.page import render_page
from westofn.report.plots import Records, arm_name, plot_records
from westofn.report.study import build_study
from westofn.report.study_results import Study


@dataclass(frozen=True)
class ReportPaths:
    """Where the report's files go.

    Attributes:
        metrics: `metrics.json`, see `collect_metrics`.
        plots: Folder of the plot records, one JSON a plot; the PNGs go to its folder `png`.
        page: `report.html`.
    """

    metrics: Path
    plots: Path
    page: Path


def build_report(inputs: ReportInputs, study: Study, out: ReportPaths) -> None:
    """Write metrics.json, plot records, PNGs and the page; equal inputs give equal bytes.

    A plot without data has an empty list of records and no PNG; the study's records are those of
    study.json.

    Raises:
        DataError: Inputs contradict each other, or a file cannot be written.
    """
    records = plot_records(inputs)
    figures = build_figures(records, [arm_name(name) for name in inputs.palette_order])
    section = build_study(study)
    page = render_page(inputs, records, figures, section)
    write_json(collect_metrics(inputs), out.metrics)
    _write_plots(records, [*figures, *section.figures], out.plots)
    write_bytes(page.encode(), out.page)


def _write_plots(records: dict[str, Records], figures: Sequence[Figure], folder: Path) -> None:
    for name, rows in records.items():
        write_records(rows, folder / f"{name}.json")
    for figure in figures:
        path = folder / "png" / f"{figure.key}.png"
        if figure.panels:
            write_bytes(figure_png(figure), path)
        else:
            path.unlink(missing_ok=True)
