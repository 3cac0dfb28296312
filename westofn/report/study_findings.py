"""What the study's figures say, a sentence each.

A difference is an effect only where its 95 % interval over seeds excludes zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from westofn.report.numbers import decimal, signed
from westofn.report.study_catalogue import GROUPS, PAPER
from westofn.report.study_records import (
    ACCURACIES,
    METHODS,
    STUDENTS,
    WITH_GOLD,
    Family,
    against_base,
    curves,
    differences,
    family_runs,
    peaks,
    pool_sizes,
    round_rows,
    size_runs,
)
from westofn.report.study_results import (
    METRICS,
    ONE_SEED,
    Cell,
    Row,
    Run,
    Study,
    against_paper,
    main_difference,
    power_line,
    rows,
    table,
    table_difference,
)

ROUND_METRICS: dict[str, tuple[str, float, int]] = {
    **{metric: METRICS[metric] for metric in WITH_GOLD},
    "rl_gold": ("RL gold", 1.0, 2),
}
FEW = 3
"""Effects that a sentence names with their size; of more the figure and its table tell."""
RIGHT = {"correct": "the share of right labels"}
REFERENCES = {"hf50": "HF50"}
"""Arm -> its name as what a family is compared with."""
METHOD_NAMES = {"best_of_n": "best-of-n", "rl": "RL"}


def scope(study: Study) -> str:
    """Which seeds, and of which data and parameters the study is."""
    world = (
        "The study is of the embedded world with the committed parameters, whatever data this "
        "page's run is of."
    )
    if not study.seeds:
        return f"No study has been run, so there are no seeds to show. {world}"
    seeds = ", ".join(str(seed) for seed in study.seeds)
    parts = {part for run in study.runs for part in run["arms"]}
    whole = sum(parts <= run["arms"].keys() for run in study.runs)
    if whole < len(study.seeds):
        world += (
            f" Only {whole} of these seeds have all parts; each table says over how many seeds it "
            "is."
        )
    if len(study.seeds) == 1:
        return f"Seed {seeds}; one seed has no interval, so no difference is an effect. {world}"
    return (
        f"Seeds {seeds}: each has its own world, models and test set. Dots and lines are means "
        "over the seeds, with 95 % t-intervals; every difference is paired by seed. It is an "
        "effect only where its interval excludes zero, and of twenty that are not, one does so by "
        f"chance. {world}"
    )


def compared(runs: Sequence[Run], family: Family) -> str:
    """Which arms differ from what they are compared with, and from the arm that they vary."""
    sentence = _against(differences(runs, family), family.metrics, family.against)
    varied = against_base(runs, family)
    if varied and sentence:
        sentence = f"{sentence} {_against(varied, family.metrics, family.base_name)}"
    return f"{sentence} {paper(runs, family)}".strip()


def family_power(runs: Sequence[Run], family: Family) -> str:
    """The smallest difference that a family's seeds could have seen."""
    known = family_runs(runs, family)
    return power_line(differences(runs, family), family.against, len(known), family.metrics)


def pool_size_power(runs: Sequence[Run]) -> str:
    """The same of the students by pool size."""
    found = [row for _, row in pool_sizes(runs)]
    return power_line(found, "HF50", len(size_runs(runs)), ACCURACIES)


def rounds_power(runs: Sequence[Run]) -> str:
    """The same of the rounds and HF100."""
    return power_line(round_rows(runs, tuple(ROUND_METRICS)), "HF50", len(runs), WITH_GOLD)


def no_power(runs: Sequence[Run]) -> str:
    """Of a figure that shows levels and no differences to an arm."""
    return ""


def paper(runs: Sequence[Run], family: Family) -> str:
    """The differences of a family that the paper reports too, and what their intervals exclude."""
    verdicts = [
        f"{row.title} by {metric_name(metric)} "
        f"{against_paper(row.differences[metric], reported, *METRICS[metric][1:])}"
        for (arm, against, metric), reported in PAPER.items()
        for row in differences(runs, family)
        if (row.arm, family.against) == (arm, REFERENCES.get(against)) and metric in family.metrics
        if metric in row.differences and row.differences[metric].half is not None
    ]
    return f"Beside the paper's numbers on TL;DR: {'; '.join(verdicts)}." if verdicts else ""


def _against(found: Sequence[Row], metrics: Sequence[str], against: str) -> str:
    clauses = []
    for metric in metrics:
        cells = {row.title: row.differences[metric] for row in found if metric in row.differences}
        if any(cell.half is None for cell in cells.values()):
            return f"Differences to {against}: {ONE_SEED}."
        if cells:
            clauses.append(f"{metric_name(metric)} {_effects(cells, *METRICS[metric][1:])}")
    return f"Against {against}: {'; '.join(clauses)}." if clauses else ""


def _effects(cells: Mapping[str, Cell], scale: float, digits: int) -> str:
    said = []
    for verdict, word in (("above", "higher with"), ("below", "lower with")):
        arms = {title: cell for title, cell in cells.items() if cell.verdict == verdict}
        if arms:
            said.append(f"{word} {_listed(arms, len(cells), scale, digits)}")
    return " and ".join(said) or "not told apart"


def _listed(arms: Mapping[str, Cell], of: int, scale: float, digits: int) -> str:
    """Few arms with their numbers, many by name, all as such."""
    if len(arms) == of > 1:
        return f"each of the {of} arms"
    names = {title: f"“{title}”" if ", " in title else title for title in arms}
    if len(arms) > FEW:
        return ", ".join(names.values())
    return ", ".join(
        f"{names[title]} ({signed(scale * cell.mean, digits)}{_unit(scale)})"
        for title, cell in arms.items()
    )


def pool_size(runs: Sequence[Run]) -> str:
    """What the largest pools gain over the smallest."""
    sizes = pool_sizes(runs)
    if len(sizes) < 2:
        return ""
    (small, first), (large, last) = sizes[0], sizes[-1]
    group = next(group for group in GROUPS if group.key == "sizes")
    paired = rows(runs, replace(group, against=first.arm, against_part=group.part))
    row = next(row for row in paired if row.arm == last.arm)
    clauses = [
        change(name, row.differences[metric], *METRICS[metric][1:])
        for metric, name in (
            ("label_accuracy", "the share of right labels"),
            ("accuracy", "the student's held-out accuracy"),
            ("on_policy_accuracy", "its on-policy accuracy"),
        )
        if metric in row.differences
    ]
    return f"From N = {small} to N = {large}: {'; '.join(clauses)}."


def theorem(runs: Sequence[Run]) -> str:
    """How right labels and the bound grow with N, and right labels with confidence."""
    sentences = []
    sizes = sorted(row["n"] for row in table(runs, "theorem", ("n",)))
    names = RIGHT | {
        "p_true": "P* of the label",
        "bound": "the bound with the largest ε",
    }
    if len(sizes) > 1:
        text = _changes(runs, "theorem", "n", (sizes[0], sizes[-1]), names)
        sentences.append(f"From N = {sizes[0]} to N = {sizes[-1]}: {text}.")
    bins = sorted(row["bin"] for row in table(runs, "confidence", ("bin",)))
    if len(bins) > 1:
        text = _changes(runs, "confidence", "bin", (bins[0], bins[-1]), RIGHT)
        sentences.append(f"From the least to the most sure tenth of pairs: {text}.")
    return " ".join(sentences)


def _changes(
    runs: Sequence[Run],
    name: str,
    key: str,
    ends: tuple[Any, Any],
    metrics: Mapping[str, str],
) -> str:
    clauses = []
    for metric, title in metrics.items():
        cell = table_difference(runs, name, metric, {key: ends[1]}, {key: ends[0]})
        if cell is not None:
            clauses.append(change(title, cell, 100.0, 1))
    return "; ".join(clauses) or "not measured in every seed"


def overoptimisation(runs: Sequence[Run]) -> str:
    """Where gold peaks for each student, and whether it has fallen by the end."""
    sentences = []
    for method in METHODS:
        found = curves(runs, method)
        clauses = []
        for peak in peaks(found):
            last = [row for row in found if row["arm"] == peak["arm"]][-1]
            clauses.append(f"{peak['arm']} {_after_peak(runs, method, peak, last)}")
        if clauses:
            sentences.append(f"Gold by {METHOD_NAMES[method]}: {'; '.join(clauses)}.")
    return " ".join(sentences)


def _after_peak(
    runs: Sequence[Run], method: str, peak: Mapping[str, Any], last: Mapping[str, Any]
) -> str:
    at = f"{'n' if 'n' in peak else 'step'} = {peak['n'] if 'n' in peak else peak['step']}"
    where = f"is highest at d = {decimal(peak['distance'])} ({at})"
    if peak is last:
        return f"{where}, the last that was measured"
    student = next(name for name, title in STUDENTS.items() if title == peak["arm"])
    ends = [
        {"method": method, "student": student}
        | {key: row[key] for key in ("n", "step") if key in row}
        for row in (last, peak)
    ]
    cell = table_difference(runs, "curves", "gold", *ends)
    return where if cell is None else change(f"{where} and at the end it", cell, 1.0, 2)


def rounds(runs: Sequence[Run]) -> str:
    """What the first round gains over HF50, and the last over the first."""
    found = [row for row in round_rows(runs, tuple(ROUND_METRICS)) if row.arm.startswith("k")]
    if not found:
        return ""
    sentences = [f"k1 against HF50: {_round_changes(runs, 'k1', 'hf50')}."]
    first = main_difference(runs, "k1", "hf50", "accuracy")
    if first is not None and first.half is not None:
        verdict = against_paper(first, PAPER["west", "hf50", "accuracy"], *METRICS["accuracy"][1:])
        sentences.append(f"Beside the paper's number, held-out accuracy {verdict}.")
    last = found[-1].arm
    if last != "k1":
        sentences.append(f"{last} against k1: {_round_changes(runs, last, 'k1')}.")
    return " ".join(sentences)


def _round_changes(runs: Sequence[Run], arm: str, other: str) -> str:
    clauses = []
    for metric, (_, scale, digits) in ROUND_METRICS.items():
        cell = main_difference(runs, arm, other, metric)
        if cell is not None:
            clauses.append(change(round_name(metric), cell, scale, digits))
    return "; ".join(clauses) or "not measured in every seed"


def change(name: str, cell: Cell, scale: float, digits: int) -> str:
    """A paired difference in words.

    >>> change("held-out accuracy", Cell(0.02, 0.01), 100.0, 1)
    'held-out accuracy is higher by 2.0 points (1.0 to 3.0)'
    >>> change("RL gold", Cell(-0.5, 1.0), 1.0, 2)
    'RL gold is not told apart (−0.50, −1.50 to 0.50)'
    >>> change("RL gold", Cell(-0.5, None), 1.0, 2)
    'RL gold is not told apart (unknown, one seed; −0.50)'
    """
    mean, unit = scale * cell.mean, _unit(scale)
    if cell.half is None:
        return f"{name} is not told apart ({ONE_SEED}; {signed(mean, digits)}{unit})"
    low, high = decimal(scale * cell.low, digits), decimal(scale * cell.high, digits)
    if cell.verdict == "above":
        return f"{name} is higher by {decimal(mean, digits)}{unit} ({low} to {high})"
    if cell.verdict == "below":
        low, high = decimal(-scale * cell.high, digits), decimal(-scale * cell.low, digits)
        return f"{name} is lower by {decimal(-mean, digits)}{unit} ({low} to {high})"
    return f"{name} is not told apart ({signed(mean, digits)}{unit}, {low} to {high})"


def metric_name(metric: str) -> str:
    """A metric without its unit.

    >>> metric_name("accuracy")
    'held-out accuracy'
    """
    return METRICS[metric][0].partition(",")[0]


def round_name(metric: str) -> str:
    """A metric of the rounds without its unit."""
    return ROUND_METRICS[metric][0].partition(",")[0]


def _unit(scale: float) -> str:
    return " points" if scale == 100.0 else ""
