"""The summary in the terminal at the end of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from westofn.execution.account import warnings_of
from westofn.execution.guards import alarms, checked, readings_of_record
from westofn.report.differences import difference_key
from westofn.report.metrics import CHECKS, ROWS
from westofn.report.numbers import MISSING, decimal, percent
from westofn.report.plots import arm_name
from westofn.report.rows import account_of_record, place_of_stage, shares_dropped
from westofn.terminal import Terminal

Column = tuple[str, str, Callable[[float], str]]
"""Key of metrics.json, head, and how to write a value."""

MEASURES: tuple[Column, ...] = (
    ("accuracy", "accuracy\n%", percent),
    ("on_policy_accuracy", "on-policy\n%", percent),
    ("best_of_n_gold", "best-of-n\ngold", decimal),
    ("best_of_n_win_rate", "best-of-n\nwin %", percent),
)
ROUND: tuple[Column, ...] = (
    ("label_accuracy", "labels\n%", percent),
    ("rl_gold", "RL\ngold", decimal),
    ("rl_win_rate", "RL\nwin %", percent),
    ("rl_kl", "RL KL\nnats", decimal),
)
REFERENCE = "hf50"
LAST = ("hf100", "base")
Arms = Mapping[str, Mapping[str, Any]]


def print_summary(metrics: Arms, report_path: Path, console: Console | None = None) -> None:
    """Print the arms as tables and where the report lies; fits 80 columns.

    Args:
        metrics: What `collect_metrics` returned. Columns that no arm has are left out.
        report_path: Where the page lies.
        console: Where to print; the terminal by default.
    """
    console = console or Terminal()
    ordered = _ordered({name: arm for name, arm in metrics.items() if name not in (ROWS, CHECKS)})
    for table in (levels(ordered), gains(ordered), rounds(ordered)):
        if table is not None:
            console.print(table)
    console.print(
        "Accuracy on held-out human pairs, on-policy on pairs of the policy's own responses. "
        "Below them 95 % intervals over test prompts, differences paired by prompt; one training "
        "seed, so what another training would change is not in them."
    )
    print_rows(metrics.get(ROWS, {}), console)
    print_checks(metrics.get(CHECKS, {}), console)
    console.print(Text(f"Report: {report_path}"), soft_wrap=True)


def print_rows(rows: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Print the shares of used and dropped rows of the stages that drop some, and the warnings.

    Args:
        rows: The accounts in metrics.json by stage; without any nothing is printed.
        console: Where to print.
    """
    stages = sorted(rows, key=place_of_stage)
    accounts = [account_of_record(stage, rows[stage]) for stage in stages]
    dropping = [account for account in accounts if account.used < account.rows_in]
    if dropping:
        table = _plain_table("Rows that were dropped, in percent")
        table.add_column("stage", no_wrap=True)
        for head in ("rows", "used"):
            table.add_column(head, justify="right")
        table.add_column("dropped")
        for account in dropping:
            used = percent(account.share(account.used))
            rows_in = f"{account.rows_in} {account.what}"
            table.add_row(account.stage, rows_in, used, shares_dropped(account))
        console.print(table)
    elif accounts:
        console.print("Every stage used all of its rows.")
    _print_warnings(warnings_of(accounts), console)


def print_checks(checks: Mapping[str, Mapping[str, float]], console: Console) -> None:
    """Print a quiet line for every guard whose limit is kept, and a warning where it is not.

    Args:
        checks: The readings in metrics.json by guard; without any nothing is printed.
        console: Where to print.
    """
    readings = readings_of_record(checks)
    for line in checked(readings):
        console.print(Text(f"checked: {line}", style="dim"))
    _print_warnings(alarms(readings), console)


def _print_warnings(warnings: Sequence[str], console: Console) -> None:
    for warning in warnings:
        console.print(Text(f"WARNING: {warning}", style="bold yellow"))


def levels(metrics: Arms) -> Table:
    """Every arm's measures with their intervals."""
    return _table("", metrics, MEASURES, _level)


def gains(metrics: Arms) -> Table | None:
    """Every arm's measures less those of HF50; None where no difference was measured."""
    columns = [(difference_key(key), head, write) for key, head, write in MEASURES]
    others = {name: arm for name, arm in metrics.items() if name != REFERENCE}
    if not any(key in arm for arm in others.values() for key, _, _ in columns):
        return None
    return _table("Less HF50, in points and gold", others, columns, _gain)


def rounds(metrics: Arms) -> Table | None:
    """Right labels and RL of every iteration; None without one."""
    arms = {name: arm for name, arm in metrics.items() if any(key in arm for key, _, _ in ROUND)}
    return _table("Labels and RL", arms, ROUND, _level) if arms else None


def _ordered(metrics: Arms) -> Arms:
    """HF50, the iterations, HF100 and the teacher; metrics.json is in alphabetical order."""
    loop = [name for name in metrics if name not in (REFERENCE, *LAST)]
    wanted = (REFERENCE, *loop, *LAST)
    return {name: metrics[name] for name in wanted if name in metrics}


def _table(
    title: str,
    metrics: Arms,
    columns: Sequence[Column],
    cell: Callable[[Mapping[str, float], Column], str],
) -> Table:
    measured = {key for arm in metrics.values() for key in arm}
    columns = [column for column in columns if column[0] in measured]
    table = _plain_table(title)
    table.add_column("arm", no_wrap=True)
    for _, head, _ in columns:
        table.add_column(head, justify="right")
    for name, arm in metrics.items():
        table.add_row(Text(arm_name(name)), *(Text(cell(arm, column)) for column in columns))
    return table


def _plain_table(title: str) -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),  # so that four measures with their intervals fit 80 columns
        pad_edge=False,
        title=title or None,
        title_justify="left",
    )


def _level(arm: Mapping[str, float], column: Column) -> str:
    """A level and, below it, its interval."""
    key, _, write = column
    if key not in arm:
        return MISSING
    text = write(arm[key])
    if f"{key}_low" not in arm or f"{key}_high" not in arm:
        return text
    return f"{text}\n{_interval(arm, column)}"


def _gain(arm: Mapping[str, float], column: Column) -> str:
    """A difference and, below it, its interval."""
    key, _, write = column
    if key not in arm:
        return MISSING
    text = write(arm[key])
    sign = "+" if text.strip("0.") and not text.startswith("−") else ""
    if f"{key}_low" not in arm or f"{key}_high" not in arm:
        return f"{sign}{text}"
    return f"{sign}{text}\n{_interval(arm, column)}"


def _interval(arm: Mapping[str, float], column: Column) -> str:
    key, _, write = column
    return " to ".join(write(arm[f"{key}_{end}"]) for end in ("low", "high"))
