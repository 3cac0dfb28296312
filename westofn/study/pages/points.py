"""The points of the study's figures: flat records of means over seeds with their intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from westofn.core.overoptimisation import GaoFit, GaoForm
from westofn.report.plots import Records
from westofn.study.catalogue import GROUPS, METRICS, WITH_GOLD, Group
from westofn.study.means import Cell, Row, having_parts, main_rows, rows, table
from westofn.study.pages.families import CONDITIONS, Family
from westofn.study.parts import Part
from westofn.study.records import Run

DIGITS = 5
LABEL_CHARACTERS = 21
"""Longer names of arms are broken, so that half of a narrow screen is left to draw on."""
CURVE_POINTS = 40
ROUND_METRICS = (*WITH_GOLD, "rl_gold")
STUDENTS = {"hf50": "HF50", "hf100": "HF100", "west": "West-of-N"}
METHODS: tuple[GaoForm, ...] = ("best_of_n", "rl")
THEOREM_LINES = {
    "p_model": "P_θ of the label",
    "bound_q95": "bound, ε at its 95 % quantile",
    "bound": "bound, largest ε",
    "correct": "right labels",
    "p_true": "P* of the label",
}
"""Column -> its line, in the order of the palette."""
ROUNDS = {"hf50": "HF50", "k1": "k1", "k2": "k2", "k3": "k3", "hf100": "HF100"}
_CATALOGUE = {
    **{group.key: group for group in GROUPS},
    "west": Group("west", "", "", Part.BASELINES, {"west": "West-of-N"}),
}


def differences(runs: Sequence[Run], family: Family) -> list[Row]:
    """The rows of a family that have a difference, with the titles of its figure."""
    return [
        replace(row, title=CONDITIONS.get(key, row.title).removeprefix("HF50 + "))
        for key in family.groups
        for row in rows(runs, _CATALOGUE[key])
        if row.differences
    ]


def family_runs(runs: Sequence[Run], family: Family) -> list[Run]:
    """The seeds that have the parts of a family."""
    return having_parts(runs, _CATALOGUE[family.groups[0]])


def size_runs(runs: Sequence[Run]) -> list[Run]:
    """The seeds whose pairs were selected from N candidates for every N."""
    return having_parts(runs, _CATALOGUE["sizes"])


def against_base(runs: Sequence[Run], family: Family) -> list[Row]:
    """The rows of a family with their differences to the arm that they vary; empty without one."""
    if not family.base:
        return []
    group = _CATALOGUE[family.groups[0]]
    varied = replace(group, against=family.base, against_part=group.part)
    return [row for row in rows(runs, varied) if row.differences]


def forest(arms: Sequence[Row], metric: str) -> Records:
    """Paired differences in the metric's unit, a record for each arm that has one."""
    scale = METRICS[metric].scale
    return [
        {
            "arm": _broken(row.title),
            "excludes_zero": row.differences[metric].verdict in ("above", "below"),
            **interval("difference", row.differences[metric], scale),
        }
        for row in arms
        if metric in row.differences
    ]


def _broken(title: str) -> str:
    """A title in lines; `N = 64` stays in one."""
    together = title.replace(" = ", "\u00a0=\u00a0")
    return "\n".join(textwrap.wrap(together, LABEL_CHARACTERS))


def interval(key: str, cell: Cell, scale: float = 1.0) -> dict[str, float]:
    """The mean under `key`, and the ends of its interval where more than one seed gives one."""
    record = {key: round(scale * cell.mean, DIGITS)}
    if cell.half is not None:
        record["low"] = round(scale * cell.low, DIGITS)
        record["high"] = round(scale * cell.high, DIGITS)
    return record


def pool_sizes(runs: Sequence[Run]) -> list[tuple[int, Row]]:
    """N and the student of the pairs that are selected from N candidates, by N."""
    group = _CATALOGUE["sizes"]
    return sorted(((int(row.arm[1:]), row) for row in rows(runs, group)), key=lambda item: item[0])


def by_size(sizes: Sequence[tuple[int, Row]], metric: str) -> Records:
    """A metric's difference to HF50 against N; of right labels the share itself."""
    scale = METRICS[metric].scale
    records = []
    for n, row in sizes:
        if metric == "label_accuracy" and metric in row.means:
            records.append({"n": n, **interval("value", row.means[metric])})
        elif metric in row.differences:
            records.append({"n": n, **interval("value", row.differences[metric], scale)})
    return records


def theorem(runs: Sequence[Run]) -> Records:
    """Right labels, P*, P_θ and the bounds against N, a record a line and N."""
    return _lines(_whole(table(runs, "theorem", ("n",))), THEOREM_LINES, "n")


def confidence(runs: Sequence[Run]) -> Records:
    """Right labels and P* by the base model's probability, a record a line and bin."""
    bins = [
        row | {"p": row["p_model"].mean}
        for row in _whole(table(runs, "confidence", ("bin",)))
        if "p_model" in row
    ]
    names = {key: THEOREM_LINES[key] for key in ("correct", "p_true")}
    return _lines(bins, names, "p")


def _lines(rows_: Sequence[Mapping[str, Any]], names: Mapping[str, str], x: str) -> Records:
    return [
        {x: round(row[x], DIGITS), "line": name, **interval("share", row[key])}
        for key, name in names.items()
        for row in rows_
        if key in row
    ]


def curves(runs: Sequence[Run], method: GaoForm) -> Records:
    """Means at equal n or step: distance, gold and proxy of every student, in order."""
    return [
        {
            "arm": STUDENTS[row["student"]],
            **{key: row[key] for key in ("n", "step") if row[key] is not None},
            "distance": round(row["distance"].mean, DIGITS),
            **_named("gold", row["gold"]),
            **_named("proxy", row["proxy"]),
        }
        for row in _of_method(runs, "curves", ("method", "student", "n", "step"), method)
    ]


def _named(key: str, cell: Cell) -> dict[str, float]:
    """The mean under `key`, and the ends of its interval under `key_low` and `key_high`."""
    record = interval(key, cell)
    return {name if name == key else f"{key}_{name}": value for name, value in record.items()}


def _of_method(
    runs: Sequence[Run], name: str, keys: Sequence[str], method: GaoForm
) -> list[dict[str, Any]]:
    """The rows of a table that are of one way to optimise and of a student that is drawn."""
    return [
        row
        for row in _whole(table(runs, name, keys))
        if row["method"] == method and row["student"] in STUDENTS
    ]


def peaks(records: Records) -> Records:
    """The point of the largest mean gold of every student."""
    arms = dict.fromkeys(row["arm"] for row in records)
    return [
        max((row for row in records if row["arm"] == arm), key=lambda row: row["gold"])
        for arm in arms
    ]


def fitted(runs: Sequence[Run], method: GaoForm) -> Records:
    """Gold on the curve of the mean α and β, up to the largest distance of every student."""
    records = []
    for row in _of_method(runs, "fits", ("method", "student"), method):
        fit = GaoFit(row["alpha"].mean, row["beta"].mean, method, 0.0, 0, 0)
        end, start = row["largest_distance"].mean, row["gold_at_start"].mean
        grid = [end * step / CURVE_POINTS for step in range(CURVE_POINTS + 1)]
        records += [
            {
                "arm": STUDENTS[row["student"]],
                "distance": round(d, DIGITS),
                "gold": round(start + gain, DIGITS),
            }
            for d, gain in zip(grid, fit.predict(grid).tolist(), strict=True)
        ]
    return records


def _whole(rows_: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that most seeds have: a mean of fewer seeds is no point of the same line."""
    most = max((row["seeds"] for row in rows_), default=0)
    return [row for row in rows_ if row["seeds"] == most]


def round_rows(runs: Sequence[Run], metrics: Sequence[str]) -> list[Row]:
    """HF50, the rounds of the loop and HF100, in the order in which they are drawn."""
    arms = {row.arm: row for row in main_rows(runs, metrics)}
    return [replace(arms[arm], title=ROUNDS[arm]) for arm in ROUNDS if arm in arms]


def by_round(arms: Sequence[Row], metric: str) -> Records:
    """A metric's mean by round; a share in percent."""
    return [
        {"arm": row.title, "is_round": row.arm.startswith("k")}
        | interval("value", row.means[metric], METRICS[metric].scale)
        for row in arms
        if metric in row.means
    ]
