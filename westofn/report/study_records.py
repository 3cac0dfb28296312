"""What the study's figures draw, as flat records of means over seeds with their intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from westofn.core.overoptimisation import GaoFit, GaoForm
from westofn.report.plots import Records
from westofn.report.study_catalogue import GROUPS, Group
from westofn.report.study_results import (
    METRICS,
    Cell,
    Row,
    Run,
    having_parts,
    main_rows,
    rows,
    table,
)

DIGITS = 5
LABEL_CHARACTERS = 21
"""Longer names of arms are broken, so that half of a narrow screen is left to draw on."""
CURVE_POINTS = 40
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
ACCURACIES = ("accuracy", "on_policy_accuracy")
WITH_GOLD = (*ACCURACIES, "best_of_n_gold")
CONDITIONS = {
    "west": "settings of the main run",
    "human25": "1/4 of HF50",
    "human50": "1/2 of HF50",
    "human200": "HF100, all human pairs",
    "noise10": "1 label in 10 flipped",
    "noise20": "1 label in 5 flipped",
    "dropout0": "student without dropout",
    "dropout50": "noisy student, dropout 0.5",
    "wide": "a wider student",
}
"""Group -> the setting in which West-of-N is compared with HF50."""


@dataclass(frozen=True)
class Family:
    """Arms that are compared in one figure.

    Attributes:
        key: Of the figure.
        title: Above it.
        says: What varies, and what the differences are to.
        groups: Their groups in the catalogue.
        metrics: A panel each.
        against: What the differences are to, in a sentence.
        base: An arm of the same part that the others vary; empty where there is none.
        base_name: What it is, in a sentence.
    """

    key: str
    title: str
    says: str
    groups: tuple[str, ...]
    metrics: tuple[str, ...] = ACCURACIES
    against: str = "HF50"
    base: str = ""
    base_name: str = ""


FAMILIES: tuple[Family, ...] = (
    Family(
        "baselines",
        "Every way to add data, against HF50",
        "HF50 is a student of half of the human pairs. HF100 sees all of them; the other arms add "
        "to HF50 one synthetic pair for each prompt of the other half, mixed 1:1, and take the "
        "same steps. “Again” is the same data with another training seed: the noise of one "
        "training. In “shuffled labels” a coin orders the pairs of HF50.",
        ("baselines", "repeats"),
        WITH_GOLD,
    ),
    Family(
        "prior",
        "The covariance prior instead of synthetic pairs",
        "Linear heads on the frozen features of the SFT policy. The prior w ~ N(0, s·Σ_π^p) "
        "prefers directions in which the policy's samples vary; it labels no candidate. "
        "Differences to HF50.",
        ("prior",),
        WITH_GOLD,
    ),
    Family(
        "networks",
        "The same data with trained networks",
        "All weights of the network learn instead of a linear head. “Again” is the same data with "
        "another training seed: the noise of one training. Differences to the network of HF50.",
        ("networks",),
        WITH_GOLD,
        "the network of HF50",
    ),
    Family(
        "synthetic_bases",
        "West-of-N on top of RLAIF and RLCD, without human labels",
        "Differences to a student of the same AI-labelled pairs alone: RLAIF, where an AI judge "
        "labels two responses, or RLCD, where the prompt that made a response is its label. "
        "Twice the pairs: more such pairs in the place of West-of-N.",
        ("rlaif_bases", "rlcd_bases"),
        WITH_GOLD,
        "the same AI-labelled pairs alone",
    ),
    Family(
        "selectors",
        "Which pair of a pool to take",
        "One pair a prompt unless the name says more; the same pools, teacher and steps. "
        "Differences to HF50.",
        ("selectors",),
        base="n64",
        base_name="best with worst",
    ),
    Family(
        "filters",
        "Filters of West-of-N pairs",
        "Only the pairs above a quantile of the teacher's confidence, of the log-likelihood a "
        "token, or of both. Differences to HF50.",
        ("filters",),
        base="n64",
        base_name="no filter",
    ),
    Family(
        "mixing",
        "Mixing human and synthetic pairs, and soft targets",
        "The share of West-of-N pairs in a batch; with soft labels the teacher's probability is "
        "the target. Differences to HF50.",
        ("mixing",),
        base="n64",
        base_name="1/2 synthetic with hard labels",
    ),
    Family(
        "comparators",
        "The teacher's comparator",
        "What a student learns from the pairs of each kind of teacher. Differences to HF50.",
        ("comparators",),
        base="by_embedding",
        base_name="the embedding comparator",
    ),
    Family(
        "ensembles",
        "Ensembles of four teachers",
        "Pairs selected by one teacher, by the mean margin of four, or by that mean less one "
        "standard deviation (lower bound). Differences to HF50.",
        ("ensembles",),
    ),
    Family(
        "conditions",
        "What West-of-N adds with less, more or noisier human data, and to other students",
        "Each row is a setting, and shows HF50 + West-of-N less HF50 where both are trained in it: "
        "a share of HF50's pairs, all human pairs, flipped labels, another dropout, a wider "
        "student.",
        tuple(CONDITIONS),
        against="the same setting without West-of-N",
    ),
)
"""Every figure of paired differences, in reading order."""

_CATALOGUE = {
    **{group.key: group for group in GROUPS},
    "west": Group("west", "", "", "baselines", {"west": "West-of-N"}),
}


def differences(runs: Sequence[Run], family: Family) -> list[Row]:
    """The rows of a family that have a difference, with the titles of its figure."""
    found = []
    for key in family.groups:
        group = _CATALOGUE[key]
        for row in rows(runs, group):
            title = CONDITIONS.get(key, row.title)
            if row.differences:
                found.append(replace(row, title=title.removeprefix("HF50 + ")))
    return found


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


def forest(found: Sequence[Row], metric: str) -> Records:
    """Paired differences in the metric's unit, a record an arm that has one."""
    _, scale, _ = METRICS[metric]
    return [
        {
            "arm": _broken(row.title),
            "excludes_zero": row.differences[metric].verdict in ("above", "below"),
            **interval("difference", row.differences[metric], scale),
        }
        for row in found
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
    _, scale, _ = METRICS[metric]
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
    found = [
        row | {"p": row["p_model"].mean}
        for row in _whole(table(runs, "confidence", ("bin",)))
        if "p_model" in row
    ]
    names = {key: THEOREM_LINES[key] for key in ("correct", "p_true")}
    return _lines(found, names, "p")


def _lines(found: Sequence[Mapping[str, Any]], names: Mapping[str, str], x: str) -> Records:
    return [
        {x: round(row[x], DIGITS), "line": name, **interval("share", row[key])}
        for key, name in names.items()
        for row in found
        if key in row
    ]


def curves(runs: Sequence[Run], method: GaoForm) -> Records:
    """Means at equal n or step: distance, gold and proxy of every student, in order."""
    found = []
    for row in _whole(table(runs, "curves", ("method", "student", "n", "step"))):
        if row["method"] == method and row["student"] in STUDENTS:
            at = {key: row[key] for key in ("n", "step") if row[key] is not None}
            found.append(
                {
                    "arm": STUDENTS[row["student"]],
                    **at,
                    "distance": round(row["distance"].mean, DIGITS),
                    **{
                        f"{kind}{end}": value
                        for kind in ("gold", "proxy")
                        for key, value in interval("mean", row[kind]).items()
                        for end in [{"mean": ""}.get(key, f"_{key}")]
                    },
                }
            )
    return found


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
    for row in _whole(table(runs, "fits", ("method", "student"))):
        if row["method"] == method and row["student"] in STUDENTS:
            fit = GaoFit(row["alpha"].mean, row["beta"].mean, method, 0.0, 0, 0)
            end = row["largest_distance"].mean
            grid = [end * step / CURVE_POINTS for step in range(CURVE_POINTS + 1)]
            gains = fit.predict(grid).tolist()
            start = row["gold_at_start"].mean
            records += [
                {
                    "arm": STUDENTS[row["student"]],
                    "distance": round(d, DIGITS),
                    "gold": round(start + gain, DIGITS),
                }
                for d, gain in zip(grid, gains, strict=True)
            ]
    return records


def _whole(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that most seeds have: a mean of fewer seeds is no point of the same line."""
    most = max((row["seeds"] for row in found), default=0)
    return [row for row in found if row["seeds"] == most]


def round_rows(runs: Sequence[Run], metrics: Sequence[str]) -> list[Row]:
    """HF50, the rounds of the loop and HF100, in the order in which they are drawn."""
    found = {row.arm: row for row in main_rows(runs, metrics)}
    return [replace(found[arm], title=ROUNDS[arm]) for arm in ROUNDS if arm in found]


def by_round(found: Sequence[Row], metric: str, scale: float) -> Records:
    """A metric's mean by round."""
    return [
        {"arm": row.title, "is_round": row.arm.startswith("k")}
        | interval("value", row.means[metric], scale)
        for row in found
        if metric in row.means
    ]
