"""The page of the study: its figures with what they show in sentences and numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from westofn.artifacts.atomic import write_bytes
from westofn.report.build import write_pngs
from westofn.report.figures import Figure
from westofn.report.html import render_html
from westofn.report.tables import DataTable
from westofn.study.pages import figures, findings, tables
from westofn.study.pages.families import FAMILIES, Family
from westofn.study.pages.templates import FOLDER
from westofn.study.records import Run, Study

Runs = Sequence[Run]
ORDER = (
    "baselines",
    "prior",
    "pool_size",
    "selectors",
    "filters",
    "mixing",
    "comparators",
    "ensembles",
    "conditions",
    "networks",
    "synthetic_bases",
    "theorem",
    "overoptimisation",
    "rounds",
)
"""Keys of the figures that the page shows, without `study_`."""


@dataclass(frozen=True)
class ShownFigure:
    """A figure of the page.

    Attributes:
        figure: What is drawn; its key begins with `study_`.
        finding: What it shows, in sentences; empty without data.
        numbers: What is drawn, for those who do not see or point.
        power: The smallest difference that its seeds could have seen; empty without differences.
    """

    figure: Figure
    finding: str
    numbers: DataTable
    power: str


@dataclass(frozen=True)
class _Maker:
    """What makes a figure, its finding, its numbers and its power."""

    figure: Callable[[Runs], Figure]
    finding: Callable[[Runs], str]
    numbers: Callable[[Runs], DataTable]
    power: Callable[[Runs], str]

    def __call__(self, runs: Runs) -> ShownFigure:
        return ShownFigure(
            self.figure(runs), self.finding(runs), self.numbers(runs), self.power(runs)
        )


_MAKERS = {
    "pool_size": _Maker(
        figures.pool_size_figure, findings.pool_size, tables.pool_size, findings.pool_size_power
    ),
    "theorem": _Maker(figures.theorem_figure, findings.theorem, tables.theorem, findings.no_power),
    "overoptimisation": _Maker(
        figures.overoptimisation_figure,
        findings.overoptimisation,
        tables.overoptimisation,
        findings.no_power,
    ),
    "rounds": _Maker(figures.rounds_figure, findings.rounds, tables.rounds, findings.rounds_power),
}
"""The makers of the figures that are not of paired differences."""


def shown_figures(study: Study) -> list[ShownFigure]:
    """The figures in reading order; none before a study has been run."""
    if not study.runs:
        return []
    families = {family.key: family for family in FAMILIES}
    return [
        _MAKERS[key](study.runs) if key in _MAKERS else _of_family(study.runs, families[key])
        for key in ORDER
    ]


def _of_family(runs: Runs, family: Family) -> ShownFigure:
    return ShownFigure(
        figures.family_figure(runs, family),
        findings.compared(runs, family),
        tables.family(runs, family),
        findings.family_power(runs, family),
    )


def write_study_page(study: Study, out: Path) -> None:
    """Write the page, and beside it each figure as png/KEY.png.

    Args:
        study: What study.json holds.
        out: Where the page goes.
    """
    shown = shown_figures(study)
    drawn = [each.figure for each in shown]
    page = render_html("study.html.jinja", FOLDER, drawn, scope=findings.scope(study), shown=shown)
    write_pngs(drawn, out.parent / "png")
    write_bytes(page.encode(), out)
