"""What the study's figures show, a sentence or two each.

A difference is an effect only where its 95 % interval over seeds excludes zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from westofn.core.overoptimisation import GaoForm
from westofn.report.plots import Records
from westofn.study.catalogue import ACCURACIES, GROUPS, METRICS, PAPER, WITH_GOLD, Metric
from westofn.study.means import Cell, Row, main_difference, rows, table, table_difference, with_main
from westofn.study.pages.claims import against_paper
from westofn.study.pages.families import Family
from westofn.study.pages.points import (
    METHODS,
    ROUND_METRICS,
    STUDENTS,
    against_base,
    curves,
    differences,
    family_runs,
    peaks,
    pool_sizes,
    round_rows,
    size_runs,
)
from westofn.study.pages.power import power_line
from westofn.study.pages.templates import sentence
from westofn.study.records import Run, Study

PERCENT = Metric("", 100.0, 1)
RIGHT = {"correct": "the share of right labels"}
BY_SIZE = RIGHT | {"p_true": "P* of the label", "bound": "the bound with the largest ε"}
SIZE_METRICS = {
    "label_accuracy": "the share of right labels",
    "accuracy": "the student's held-out accuracy",
    "on_policy_accuracy": "its on-policy accuracy",
}
REFERENCES = {"hf50": "HF50"}
"""Arm -> its name as what a family is compared with."""
METHOD_NAMES = {"best_of_n": "best-of-n", "rl": "RL"}
Change = tuple[str, Cell, Metric]
"""What changes, by how much, and how that is shown."""


def scope(study: Study) -> str:
    """Which seeds, and of which data and parameters the study is."""
    parts = {part for run in study.runs for part in run["arms"]}
    whole = sum(parts <= run["arms"].keys() for run in study.runs)
    return sentence("scope", seeds=study.seeds, whole=whole)


def compared(runs: Sequence[Run], family: Family) -> str:
    """Which arms differ from what they are compared with, and from the arm that they vary."""
    sentences = [_against(differences(runs, family), family.metrics, family.against)]
    varied = against_base(runs, family)
    if varied and all(sentences):
        sentences.append(_against(varied, family.metrics, family.base_name))
    sentences.append(_beside_paper(runs, family))
    return " ".join(text for text in sentences if text)


def family_power(runs: Sequence[Run], family: Family) -> str:
    """The smallest difference that a family's seeds could have seen."""
    known = family_runs(runs, family)
    return power_line(differences(runs, family), family.against, len(known), family.metrics)


def pool_size_power(runs: Sequence[Run]) -> str:
    """The smallest difference to HF50 of the students by pool size that could have been seen."""
    arms = [row for _, row in pool_sizes(runs)]
    return power_line(arms, "HF50", len(size_runs(runs)), ACCURACIES)


def rounds_power(runs: Sequence[Run]) -> str:
    """The smallest difference to HF50 of the rounds and HF100 that could have been seen."""
    return power_line(round_rows(runs, ROUND_METRICS), "HF50", len(with_main(runs)), WITH_GOLD)


def no_power(runs: Sequence[Run]) -> str:
    """Nothing: the figure shows levels and no differences to an arm."""
    return ""


def _beside_paper(runs: Sequence[Run], family: Family) -> str:
    """The differences of a family that the paper reports too, and what their intervals exclude."""
    verdicts = [
        (row.title, METRICS[key], against_paper(row.differences[key], reported, METRICS[key]))
        for (arm, against, key), reported in PAPER.items()
        for row in differences(runs, family)
        if (row.arm, family.against) == (arm, REFERENCES.get(against)) and key in family.metrics
        if key in row.differences and row.differences[key].half is not None
    ]
    return sentence("beside_paper", verdicts=verdicts) if verdicts else ""


def _against(arms: Sequence[Row], metrics: Sequence[str], against: str) -> str:
    """Which arms lie above and below what they are compared with; empty without a difference."""
    effects = []
    for key in metrics:
        cells = {row.title: row.differences[key] for row in arms if key in row.differences}
        if any(cell.half is None for cell in cells.values()):
            return sentence("differences_of_one_seed", against=against)
        if cells:
            above, below = (
                {title: cell for title, cell in cells.items() if cell.verdict == side}
                for side in ("above", "below")
            )
            effects.append((METRICS[key], above, below, len(cells)))
    return sentence("differences", against=against, effects=effects) if effects else ""


def pool_size(runs: Sequence[Run]) -> str:
    """What the largest pools gain over the smallest."""
    sizes = pool_sizes(runs)
    if len(sizes) < 2:
        return ""
    (small, first), (large, last) = sizes[0], sizes[-1]
    group = next(group for group in GROUPS if group.key == "sizes")
    paired = rows(runs, replace(group, against=first.arm, against_part=group.part))
    gains = next(row.differences for row in paired if row.arm == last.arm)
    changes = [
        (name, gains[key], METRICS[key]) for key, name in SIZE_METRICS.items() if key in gains
    ]
    return _from_to(f"N = {small}", f"N = {large}", changes)


def theorem(runs: Sequence[Run]) -> str:
    """How right labels and the bound grow with N, and right labels with confidence."""
    sentences = []
    sizes = sorted(row["n"] for row in table(runs, "theorem", ("n",)))
    if len(sizes) > 1:
        changes = _table_changes(runs, "theorem", "n", (sizes[0], sizes[-1]), BY_SIZE)
        sentences.append(_from_to(f"N = {sizes[0]}", f"N = {sizes[-1]}", changes))
    bins = sorted(row["bin"] for row in table(runs, "confidence", ("bin",)))
    if len(bins) > 1:
        changes = _table_changes(runs, "confidence", "bin", (bins[0], bins[-1]), RIGHT)
        sentences.append(_from_to("the least", "the most sure tenth of pairs", changes))
    return " ".join(sentences)


def _from_to(start: str, end: str, changes: Sequence[Change]) -> str:
    return sentence("from_to", start=start, end=end, changes_between=changes)


def _table_changes(
    runs: Sequence[Run], name: str, key: str, ends: tuple[Any, Any], metrics: Mapping[str, str]
) -> list[Change]:
    """Changes of shares between the rows of a table at two values of its key."""
    cells = {
        title: table_difference(runs, name, metric, {key: ends[1]}, {key: ends[0]})
        for metric, title in metrics.items()
    }
    return [(title, cell, PERCENT) for title, cell in cells.items() if cell is not None]


def overoptimisation(runs: Sequence[Run]) -> str:
    """Where gold peaks for each student, and whether it has fallen by the end."""
    sentences = []
    for method in METHODS:
        points = curves(runs, method)
        texts = [_peak(runs, method, peak, points) for peak in peaks(points)]
        if texts:
            sentences.append(sentence("gold_by", method=METHOD_NAMES[method], peaks=texts))
    return " ".join(sentences)


def _peak(runs: Sequence[Run], method: GaoForm, peak: Mapping[str, Any], points: Records) -> str:
    """Where the gold of a student is highest, and how far it has fallen at the end."""
    last = [row for row in points if row["arm"] == peak["arm"]][-1]
    student = next(name for name, title in STUDENTS.items() if title == peak["arm"])
    end, top = (
        {"method": method, "student": student}
        | {key: row[key] for key in ("n", "step") if key in row}
        for row in (last, peak)
    )
    return sentence(
        "peak",
        arm=peak["arm"],
        peak=peak,
        is_last=peak is last,
        fall=table_difference(runs, "curves", "gold", end, top),
        metric=METRICS["rl_gold"],
    )


def rounds(runs: Sequence[Run]) -> str:
    """What the first round gains over HF50, and the last over the first."""
    arms = [row.arm for row in round_rows(runs, ROUND_METRICS) if row.arm.startswith("k")]
    if not arms:
        return ""
    sentences = [_round_changes(runs, "k1", "hf50")]
    first, metric = main_difference(runs, "k1", "hf50", "accuracy"), METRICS["accuracy"]
    if first is not None and first.half is not None:
        verdict = against_paper(first, PAPER["west", "hf50", "accuracy"], metric)
        sentences.append(sentence("round_beside_paper", verdict=verdict))
    if arms[-1] != "k1":
        sentences.append(_round_changes(runs, arms[-1], "k1"))
    return " ".join(sentences)


def _round_changes(runs: Sequence[Run], arm: str, other: str) -> str:
    changes = [
        (METRICS[key].name, cell, METRICS[key])
        for key in ROUND_METRICS
        if (cell := main_difference(runs, arm, other, key)) is not None
    ]
    return sentence(
        "round_changes", arm=arm, other=REFERENCES.get(other, other), changes_of_arm=changes
    )
