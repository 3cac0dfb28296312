"""docs/results.md from study.json: every table, with what its intervals exclude."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from westofn.study.catalogue import GROUPS, MAIN_ARMS, METRICS, SHOWN, Group
from westofn.study.means import (
    Cell,
    Row,
    cell,
    having_parts,
    having_table,
    main_rows,
    rows,
    table,
    with_main,
)
from westofn.study.pages.claims import MAIN, Checked, Claim, check_claims
from westofn.study.pages.power import power_line
from westofn.study.pages.templates import interval, render, sentence
from westofn.study.part_tables import PART_TABLES, PartTable
from westofn.study.records import Run

DEFAULT_SEEDS, DEFAULT_FIRST = 9, 9
"""The seeds of `make study`."""
MAIN_METRICS = (
    "accuracy",
    "high_confidence_accuracy",
    "on_policy_accuracy",
    "best_of_n_gold",
    "best_of_n_win_rate",
    "label_accuracy",
    "rl_gold",
    "rl_win_rate",
    "rl_kl",
)
LABELS_BY_SIZE = "label_accuracy_n"
"""The beginning of the metrics that say how many labels are right at pool size N."""


@dataclass(frozen=True)
class PageTable:
    """A table of the page.

    Attributes:
        title: Above it.
        note: What it is about; empty for nothing.
        seeds: How many seeds it is over.
        heads: Heads of the columns.
        rows: Cells of each row; the first is its name.
        readings: What is read off it, a sentence each.
    """

    title: str
    note: str
    seeds: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    readings: Sequence[str] = ()


def results_page(seeds: Sequence[int], runs: Sequence[Run]) -> str:
    """The page as markdown."""
    groups = [_group(runs, group) for group in GROUPS]
    parts = [_part_table(runs, part) for part in PART_TABLES]
    return render(
        "results.md.jinja",
        command=made_by(seeds),
        seeds=seeds,
        main=_main(runs),
        labels=_labels(runs),
        claims=[_claim_row(checked, len(runs)) for checked in check_claims(runs)],
        tables=[each for each in (*groups, *parts) if each],
    )


def made_by(seeds: Sequence[int]) -> str:
    """The command that runs these seeds.

    >>> made_by(range(9, 18)), made_by([9, 10])
    ('make study', 'make study SEEDS=2')
    >>> made_by([0, 1])
    'python -m westofn study --first-seed 0 --seeds 2'
    """
    count, first = len(seeds), seeds[0]
    if first != DEFAULT_FIRST:
        return f"python -m westofn study --first-seed {first} --seeds {count}"
    return "make study" if count == DEFAULT_SEEDS else f"make study SEEDS={count}"


def seeds_of(known: Sequence[Run], runs: Sequence[Run]) -> str:
    """How many seeds a table has, and of how many where some lack its part.

    >>> seeds_of([{}] * 3, [{}] * 9), seeds_of([{}], [{}])
    ('3 of 9 seeds', '1 seed')
    """
    return sentence("seeds", known=len(known), all=len(runs))


def in_unit(cells: Mapping[str, Cell], key: str, *, signed: bool = False) -> str:
    """A metric's mean as the page shows it; a dash where it was not measured."""
    return interval(cells.get(key), METRICS[key], signed=signed)


def _main(runs: Sequence[Run]) -> PageTable | None:
    """The main pipeline's own arms, RL included; None where no seed ran it."""
    arms, measured = main_rows(runs, MAIN_METRICS), with_main(runs)
    if not arms:
        return None
    means = [[row.title, *(in_unit(row.means, m) for m in MAIN_METRICS)] for row in arms]
    differences = [
        [f"{row.title} − HF50", *(in_unit(row.differences, m, signed=True) for m in MAIN_METRICS)]
        for row in arms
        if row.differences
    ]
    return PageTable(
        title="The main pipeline, three rounds of the loop",
        note="",
        seeds=seeds_of(measured, runs),
        heads=["", *(METRICS[m].title for m in MAIN_METRICS)],
        rows=means + differences,
        readings=_readings_and_power(arms, "HF50", measured),
    )


def _readings_and_power(arms: Sequence[Row], against: str, runs: Sequence[Run]) -> list[str]:
    power = power_line(arms, against, len(runs))
    return [*readings(arms, against), *([power] if power else [])]


def _labels(runs: Sequence[Run]) -> dict[str, str]:
    """Right labels of round 1 by N, beside two random candidates in the base model's order."""
    first = [run["main"].get("k1", {}) for run in with_main(runs)]
    sizes = sorted(
        {
            int(name.removeprefix(LABELS_BY_SIZE))
            for arm in first
            for name in arm
            if LABELS_BY_SIZE in name
        }
    )
    columns = {f"N = {n}": f"{LABELS_BY_SIZE}{n}" for n in sizes}
    columns |= {"random pairs": "label_accuracy_random"}
    if not sizes or not all(name in arm for arm in first for name in columns.values()):
        return {}
    return {
        title: interval(cell([arm[name] for arm in first]), METRICS["label_accuracy"])
        for title, name in columns.items()
    }


def _claim_row(checked: Checked, all_seeds: int) -> list[str]:
    """A finding of the paper, and whether it shows."""
    metric, difference = METRICS[checked.claim.metric], checked.difference
    least = difference.detectable
    return [
        checked.claim.text,
        " − ".join(_arms(checked.claim)),
        metric.title,
        interval(difference, metric, signed=True),
        f"{checked.seeds} of {all_seeds}",
        "—" if least is None else f"±{least * metric.scale:.{metric.digits}f}",
        checked.verdict,
    ]


def _arms(claim: Claim) -> tuple[str, str]:
    """Titles of both arms, from the last table of the catalogue that has them together."""
    (part, first), (other, second) = claim.first, claim.second
    assert part == other
    tables = [MAIN_ARMS] if part == MAIN else [g.arms for g in GROUPS if g.part == part]
    titles = [arms for arms in tables if {first, second} <= arms.keys()][-1]
    return titles[first], titles[second]


def _group(runs: Sequence[Run], group: Group) -> PageTable | None:
    """Means, then differences to the group's reference; None where no seed measured its arms."""
    arms = rows(runs, group)
    if not arms:
        return None
    known, against = having_parts(runs, group), _reference(group)
    shown = [m for m in SHOWN if any(m in row.means for row in arms)]
    labels = ["label_accuracy"] if any("label_accuracy" in row.means for row in arms) else []
    titles = [METRICS[m].title for m in shown]
    return PageTable(
        title=group.title,
        note=f"{group.note} Δ is to {against}.",
        seeds=seeds_of(known, runs),
        heads=["", *(METRICS[m].title for m in labels), *titles, *(f"Δ {t}" for t in titles)],
        rows=[
            [
                row.title,
                *(in_unit(row.means, m) for m in (*labels, *shown)),
                *(in_unit(row.differences, m, signed=True) for m in shown),
            ]
            for row in arms
        ],
        readings=[*_readings_and_power(arms, against, known), *_teaches_most(runs, group)],
    )


def _reference(group: Group) -> str:
    """The title of the arm that a group's differences are to."""
    for other in GROUPS:
        if other.part == group.against_part and group.against in other.arms:
            return other.arms[group.against]
    return group.against


def _teaches_most(runs: Sequence[Run], group: Group) -> list[str]:
    """The selector with the highest mean of each metric, against the table's first."""
    if group.key != "selectors":
        return []
    first, *_ = group.arms
    arms = rows(runs, replace(group, against=first, against_part=group.part))
    sentences = []
    for key in SHOWN:
        measured = [row for row in arms if key in row.means]
        if measured:
            top = max(measured, key=lambda row: row.means[key].mean)
            sentences.append(
                sentence(
                    "teaches_most",
                    metric=METRICS[key],
                    title=top.title,
                    cell=top.differences.get(key),
                    size=in_unit(top.differences, key, signed=True),
                    first=group.arms[first],
                )
            )
    return [*sentences, sentence("best_of_many")] if sentences else []


def readings(arms: Sequence[Row], against: str) -> list[str]:
    """Which differences of a table exclude zero, a sentence for each metric."""
    sentences = []
    for key in SHOWN:
        cells = {row.title: row.differences[key] for row in arms if key in row.differences}
        if any(each.half is not None for each in cells.values()):
            above, below = (
                [title for title, each in cells.items() if each.verdict == side]
                for side in ("above", "below")
            )
            sentences.append(
                sentence("reading", metric=METRICS[key], against=against, above=above, below=below)
            )
    return sentences


def _part_table(runs: Sequence[Run], part: PartTable) -> PageTable | None:
    """Columns of names, then cells; None where no seed measured it."""
    records = table(runs, part.name, part.keys)
    if not records:
        return None
    return PageTable(
        title=part.title,
        note=part.note,
        seeds=seeds_of(having_table(runs, part.name), runs),
        heads=[" / ".join(part.keys), *(metric.title for metric in part.heads.values())],
        rows=[
            [
                " / ".join(str(record[key]) for key in part.keys),
                *(interval(record.get(key), metric) for key, metric in part.heads.items()),
            ]
            for record in records
        ],
    )
