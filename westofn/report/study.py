"""The page's section on the study over seeds: figures, what they say, and their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from westofn.report import study_figures as figures
from westofn.report import study_findings as findings
from westofn.report import study_tables as tables
from westofn.report.figures import Figure
from westofn.report.study_records import FAMILIES
from westofn.report.study_results import Run, Study
from westofn.report.tables import DataTable

Runs = Sequence[Run]
OTHERS: dict[
    str,
    tuple[
        Callable[[Runs], Figure],
        Callable[[Runs], str],
        Callable[[Runs], DataTable],
        Callable[[Runs], str],
    ],
] = {
    "pool_size": (
        figures.pool_size_figure,
        findings.pool_size,
        tables.pool_size,
        findings.pool_size_power,
    ),
    "theorem": (figures.theorem_figure, findings.theorem, tables.theorem, findings.no_power),
    "overoptimisation": (
        figures.overoptimisation_figure,
        findings.overoptimisation,
        tables.overoptimisation,
        findings.no_power,
    ),
    "rounds": (figures.rounds_figure, findings.rounds, tables.rounds, findings.rounds_power),
}
"""What draws, says, lists and gauges each figure that is not one of paired differences."""

ORDER = (
    "baselines",
    "pool_size",
    "selectors",
    "filters",
    "mixing",
    "comparators",
    "ensembles",
    "conditions",
    "synthetic_bases",
    "theorem",
    "overoptimisation",
    "rounds",
)


@dataclass(frozen=True)
class StudyFigure:
    """A figure with what it says in words and its numbers.

    Attributes:
        figure: Its key begins with `study_`.
        finding: Computed from the data; empty when there are none.
        numbers: What is drawn, for those who do not see or point.
        power: The smallest difference that its seeds could have seen; empty of levels.
    """

    figure: Figure
    finding: str
    numbers: DataTable
    power: str


@dataclass(frozen=True)
class StudySection:
    """The section.

    Attributes:
        scope: Seeds, world and parameters.
        measured: Whether a study has been run; otherwise no figure has panels.
        shown: Figures in reading order.
    """

    scope: str
    measured: bool
    shown: Sequence[StudyFigure]

    @property
    def figures(self) -> list[Figure]:
        """The figures alone."""
        return [item.figure for item in self.shown]


def build_study(study: Study) -> StudySection:
    """The section of what study.json holds."""
    runs = study.runs
    families = {
        family.key: StudyFigure(
            figures.family_figure(runs, family),
            findings.compared(runs, family),
            tables.family(runs, family),
            findings.family_power(runs, family),
        )
        for family in FAMILIES
    }
    others = {
        key: StudyFigure(draw(runs), say(runs), count(runs), gauge(runs))
        for key, (draw, say, count, gauge) in OTHERS.items()
    }
    shown = families | others
    return StudySection(findings.scope(study), bool(runs), [shown[key] for key in ORDER])
