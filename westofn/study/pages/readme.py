"""README's block of results from study.json: the headline table and what it could have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from westofn.errors import DataError
from westofn.study.catalogue import METRICS, PAPER, REFERENCE, SHOWN, Group
from westofn.study.means import Cell, Row, cell, rows
from westofn.study.pages.claims import against_paper
from westofn.study.pages.power import power_line
from westofn.study.pages.results import in_unit, made_by
from westofn.study.pages.templates import interval, render
from westofn.study.parts import Part
from westofn.study.records import Run, Study

START, END = "<!-- results -->", "<!-- /results -->"
MAP_FIGURE = "docs/figures/map.svg"
TABLE = Group(
    "headline",
    "",
    "",
    Part.BASELINES,
    {
        "hf50": "HF50",
        "west": "HF50 + West-of-N",
        "hf100": "HF100",
        "self_training": "HF50 + N = 2 (self-training)",
        "top_bottom16": "HF50 + 16 best with 16 worst",
        "best_random": "HF50 + best against random",
        "prior": "HF50 + covariance prior",
    },
)
"""The rows, each where all seeds have its arm."""
PLACE = ("alignment", "off_policyness", "train_pairs")
"""What says where a world lies on the map; studies of earlier versions lack it."""


def results_block(study: Study, default: Mapping[str, float], figure: str = "") -> str:
    """The text between README's markers, without them.

    Args:
        study: What study.json holds.
        default: Settings of the default world, from which another one is told.
        figure: Path of the map's figure from README; empty leaves it out.
    """
    arms = rows(study.runs, TABLE)
    metrics = [metric for metric in SHOWN if any(metric in row.means for row in arms)]
    west = [row for row in arms if row.arm == "west"]
    return render(
        "readme.md.jinja",
        seeds=study.seeds,
        command=made_by(study.seeds) if study.runs else "",
        world=study.world if {*PLACE} <= study.world.keys() else None,
        is_default=study.world == default,
        heads=["", *(METRICS[metric].name for metric in metrics)],
        rows=[[row.title, *(_mean_and_gain(row, metric) for metric in metrics)] for row in arms],
        labels=_labels(study.runs),
        verdicts=_verdicts(west),
        prior=_prior(study.runs),
        power=power_line(west, "HF50", len(study.runs)),
        figure=figure,
    ).rstrip("\n")


def with_block(page: Path, block: str, start: str = START, end: str = END) -> str:
    """Return a page, by default README with its results, with another block between two markers.

    Raises:
        DataError: The file is missing, or the markers do not stand in it once and in order.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{page}: no such file; needs one with {start} and {end}") from None
    if text.count(start) != 1 or text.count(end) != 1 or text.index(end) < text.index(start):
        raise DataError(f"{page}: needs one {start} and after it one {end}; put them back")
    before, after = text[: text.index(start)], text[text.index(end) :]
    return f"{before}{start}\n{block}\n{after}"


def _mean_and_gain(row: Row, metric: str) -> str:
    """A mean and, below it, the difference to HF50."""
    text = in_unit(row.means, metric)
    if metric not in row.differences:
        return text
    return f"{text}<br>({in_unit(row.differences, metric, signed=True)})"


def _verdicts(west: Sequence[Row]) -> dict[str, str]:
    """Metric -> what West-of-N's gain says of the gain that the paper reports."""
    return {
        METRICS[key].name: against_paper(row.differences[key], reported, METRICS[key])
        for row in west
        for key in SHOWN
        if (reported := PAPER.get(("west", REFERENCE, key))) and key in row.differences
    }


def _prior(runs: Sequence[Run]) -> dict[str, str]:
    """Metric -> the covariance prior less West-of-N, paired by seed."""
    group = Group("prior", "", "", Part.BASELINES, {"prior": "", "west": ""}, "west")
    gains = [row.differences for row in rows(runs, group) if row.arm == "prior"]
    return {
        METRICS[key].name: in_unit(cells, key, signed=True)
        for cells in gains
        for key in SHOWN
        if key in cells
    }


def _labels(runs: Sequence[Run]) -> list[str]:
    """Right labels at N = 2, in the arm self-training, and at N = 64; empty where not measured."""
    key = "label_accuracy"
    arms = [run["arms"].get(Part.BASELINES, {}) for run in runs]
    names = ("self_training", "west")
    if not all(key in of_seed.get(name, {}) for of_seed in arms for name in names):
        return []
    cells: list[Cell] = [cell([of_seed[name][key] for of_seed in arms]) for name in names if arms]
    return [interval(each, METRICS[key]) for each in cells]
