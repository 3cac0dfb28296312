"""The tables of the page, as rows of finished text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from westofn.artifacts.decisions import REASONS
from westofn.errors import DataError
from westofn.report.differences import difference_key
from westofn.report.findings import GAINS, REFERENCE
from westofn.report.inputs import BASE, PRIOR, Iteration, Record, ReportInputs
from westofn.report.numbers import (
    MISSING,
    Measure,
    decimal,
    measure,
    percent,
    signed,
)
from westofn.report.rows import shares_dropped

WEST_OF_N = "west"
ROW_NAMES = {
    "hf50": "HF50",
    PRIOR: "HF50 + covariance prior",
    "hf100": "HF100",
    BASE: "base, pairwise teacher",
}


@dataclass(frozen=True)
class Cell:
    """A number as text, with its interval or another remark below it."""

    text: str
    remark: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table: what it is about, and its cells."""

    name: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class DataTable:
    """A table with a caption, column heads and rows; columns without any number are left out."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Row]


def reward_models(inputs: ReportInputs) -> DataTable:
    """The headline: every arm's accuracy, on-policy accuracy, best-of-n and calibration."""
    best = _best_of(inputs)
    heads = (
        "accuracy, %",
        "high-confidence accuracy, %",
        "on-policy accuracy, %",
        f"{best}: gold",
        f"{best}: win rate, %",
        "ECE, points",
    )
    rows = [Row(row_name(inputs, name), _reward_cells(inputs, name)) for name in inputs.order]
    return _without_empty_columns(DataTable("Reward models, held-out test set", heads, rows))


def gains(inputs: ReportInputs) -> DataTable:
    """Every arm less HF50, paired by test prompt."""
    best = _best_of(inputs)
    heads = (
        "accuracy, points",
        "on-policy accuracy, points",
        f"{best}: gold",
        f"{best}: win rate, points",
    )
    rows = [
        Row(
            row_name(inputs, name),
            [_gain(inputs.arms[name].metrics, key) for key in GAINS],
        )
        for name in inputs.order
        if name != REFERENCE
    ]
    caption = "Differences to HF50, paired by test prompt"
    return _without_empty_columns(DataTable(caption, heads, rows))


def _best_of(inputs: ReportInputs) -> str:
    sizes = {arm.metrics["n_candidates"] for arm in inputs.arms.values() if _has_pool(arm.metrics)}
    return f"best of {sizes.pop()}" if len(sizes) == 1 else "best of n"


def _gain(metrics: Record, key: str) -> Cell:
    gain = measure(metrics, difference_key(key))
    if gain is None:
        return Cell(MISSING)
    scale, digits = (1, 2) if key == "best_of_n_gold" else (100, 1)
    text = signed(scale * gain.value, digits)
    if gain.low is None or gain.high is None:
        return Cell(text)
    return Cell(text, " to ".join(decimal(scale * end, digits) for end in (gain.low, gain.high)))


def policies(inputs: ReportInputs) -> DataTable:
    """What RL against each iteration's student gained, with the SFT policy's level."""
    heads = (
        "reward, SD",
        "SFT reward, SD",
        "gold",
        "SFT gold",
        "win rate, %",
        "KL, nats",
        "length, tokens",
    )
    rows = [
        Row(row_name(inputs, name), _policy_cells(iteration.rl_metrics))
        for name, iteration in inputs.iterations.items()
    ]
    return _without_empty_columns(DataTable("Policies after reinforcement learning", heads, rows))


def accounting(inputs: ReportInputs) -> DataTable:
    """Rows selected, kept and dropped by reason, an iteration a row.

    Raises:
        DataError: The decisions do not cover the pairs, or contradict the filter's summary.
    """
    heads = ("N", "selected", "kept", *(f"dropped: {words(reason)}" for reason in REASONS))
    rows = [
        Row(row_name(inputs, name), [Cell(text) for text in _account(name, iteration)])
        for name, iteration in inputs.iterations.items()
    ]
    return DataTable("Synthetic pairs by iteration", heads, rows)


def rows_by_stage(inputs: ReportInputs) -> DataTable:
    """Rows that every stage read, used and dropped."""
    heads = ("rows", "", "used", "used, %", "dropped, %")
    rows = [
        Row(
            account.stage,
            [
                Cell(whole(account.rows_in)),
                Cell(account.what),
                Cell(whole(account.used)),
                Cell(percent(account.share(account.used))),
                Cell(words(shares_dropped(account)) or MISSING, "; ".join(account.notes)),
            ],
        )
        for account in inputs.accounts
    ]
    return DataTable("Rows by stage", heads, rows)


def row_name(inputs: ReportInputs, name: str) -> str:
    """The full name of an arm: an iteration is called West-of-N only if its pairs are."""
    if name not in inputs.iterations:
        return ROW_NAMES.get(name, name)
    student = inputs.students.get(name, {})
    learner = ", linear head" if student.get("learner") == "linear_head" else ""
    if student.get("synthetic_pairs") == "0":
        return f"{name}, human pairs alone{learner}"
    selector = inputs.iterations[name].selection.get("selector", WEST_OF_N)
    title = f"West-of-N {name}" if selector == WEST_OF_N else f"{name}, {words(selector)}"
    return f"{title}{learner}"


def words(name: str) -> str:
    """A name of the parameters as words.

    >>> words("empty_response")
    'empty response'
    """
    return name.replace("_", " ")


def whole(count: int) -> str:
    """A count with commas at the thousands.

    >>> whole(12345)
    '12,345'
    """
    return f"{count:,}"


def listed(count: int | Sequence[str]) -> str:
    """A count, or names with commas between.

    >>> listed(12345), listed(["id", "source"])
    ('12,345', 'id, source')
    """
    return whole(count) if isinstance(count, int) else ", ".join(count)


def _has_pool(metrics: Record) -> bool:
    return "n_candidates" in metrics


def _reward_cells(inputs: ReportInputs, name: str) -> list[Cell]:
    metrics = inputs.arms[name].metrics
    return [
        _share(metrics, "accuracy"),
        _share(metrics, "high_confidence_accuracy"),
        _share(metrics, "on_policy_accuracy"),
        _number(metrics, "best_of_n_gold"),
        _share(metrics, "best_of_n_win_rate"),
        _share(metrics, "ece"),
    ]


def _policy_cells(metrics: Record) -> list[Cell]:
    return [
        _number(metrics, "rl_reward"),
        _number(metrics, "sft_reward"),
        _number(metrics, "rl_gold"),
        _number(metrics, "sft_gold"),
        _share(metrics, "rl_win_rate"),
        _number(metrics, "rl_kl"),
        _number(metrics, "rl_length", digits=1),
    ]


def _share(record: Record, key: str) -> Cell:
    return _cell(measure(record, key), percent)


def _number(record: Record, key: str, digits: int = 2) -> Cell:
    return _cell(measure(record, key), lambda value: decimal(value, digits))


def _cell(measured: Measure | None, write: Callable[[float], str]) -> Cell:
    if measured is None:
        return Cell(MISSING)
    if measured.low is None or measured.high is None:
        return Cell(write(measured.value))
    return Cell(write(measured.value), f"{write(measured.low)} to {write(measured.high)}")


def _without_empty_columns(table: DataTable) -> DataTable:
    kept = [
        column
        for column in range(len(table.heads))
        if any(row.cells[column].text != MISSING for row in table.rows)
    ]
    rows = [Row(row.name, [row.cells[column] for column in kept]) for row in table.rows]
    return DataTable(table.caption, [table.heads[column] for column in kept], rows)


def _account(name: str, iteration: Iteration) -> list[str]:
    decisions = iteration.decisions
    undecided = iteration.pairs.join(decisions, on="prompt_id", how="anti").height
    if undecided or decisions.height != iteration.pairs.height:
        raise DataError(
            f"report: {name} has {iteration.pairs.height} pairs and {decisions.height} decisions, "
            f"{undecided} pairs without one; needs one a pair: rerun filter"
        )
    kept = int(decisions["kept"].sum())
    told = iteration.filtering.get("pairs_kept", kept)
    if told != kept:
        raise DataError(
            f"report: {name} keeps {kept} pairs by its decisions and {told} by "
            f"synthetic/summary.json; rerun filter"
        )
    dropped = [decisions.filter(pl.col("dropped_by") == reason).height for reason in REASONS]
    size = iteration.selection.get("n_candidates", MISSING)
    return [str(size), *(whole(count) for count in (decisions.height, kept, *dropped))]
