"""The templates of the study's pages: all sentences that depend on results are in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from westofn.report import templates
from westofn.study.catalogue import Metric
from westofn.study.means import Cell

FOLDER = Path(__file__).parent


def sentence(name: str, **values: Any) -> str:
    """The text of a macro of this folder's sentences.jinja, see `westofn.report.templates`."""
    return templates.sentence(name, FOLDER, **values)


def render(template: str, **values: Any) -> str:
    """A page in markdown by a template of this folder, see `westofn.report.templates`."""
    return templates.render(template, FOLDER, **values)


def interval(cell: Cell | None, metric: Metric, *, signed: bool = False) -> str:
    """A mean with its interval as the metric is shown; a dash where there is none.

    >>> interval(Cell(0.5, 0.25), Metric("share, %", 100.0, 1))
    '50.0 ± 25.0'
    >>> interval(Cell(0.5, None), Metric("gold", 1.0, 2), signed=True)
    '+0.50'
    """
    if cell is None:
        return "—"
    sign = "+" if signed else ""
    text = f"{cell.mean * metric.scale:{sign}.{metric.digits}f}"
    return text if cell.half is None else f"{text} ± {cell.half * metric.scale:.{metric.digits}f}"
