"""The summary in the terminal at the end of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from westofn.report.numbers import MISSING, decimal, percent
from westofn.report.plots import arm_name

Column = tuple[str, str, Callable[[float], str]]
"""Key of metrics.json, head, and how to write a value."""

ON_POLICY: Column = ("on_policy_accuracy", "on-policy\n%", percent)
LABELS: Column = ("label_accuracy", "labels\n%", percent)
RL_KL: Column = ("rl_kl", "RL KL\nnats", decimal)
BEST_OF_N: tuple[Column, ...] = (
    ("best_of_n_gold", "best-of-n\ngold", decimal),
    ("best_of_n_win_rate", "best-of-n\nwin %", percent),
)
RL: tuple[Column, ...] = (("rl_gold", "RL\ngold", decimal), ("rl_win_rate", "RL\nwin %", percent))


def print_summary(
    metrics: Mapping[str, Mapping[str, float]], report_path: Path, console: Console | None = None
) -> None:
    """Print the arms as a table and where the report lies; fits 80 columns.

    Args:
        metrics: What `collect_metrics` returned. Columns that no arm has are left out.
        report_path: Where the page lies.
        console: Where to print; the terminal by default.
    """
    console = console or Console()
    console.print(summary_table(metrics))
    console.print("Accuracy on held-out human pairs, with its 95 % interval; one training seed.")
    console.print(Text(f"Report: {report_path}"), soft_wrap=True)


def summary_table(metrics: Mapping[str, Mapping[str, float]]) -> Table:
    """The table of `print_summary`; win rates stand in where there is no gold."""
    measured = {key for arm in metrics.values() for key in arm}
    wanted = (ON_POLICY, _first(BEST_OF_N, measured), LABELS, _first(RL, measured), RL_KL)
    columns = [column for column in wanted if column[0] in measured]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm")
    table.add_column("accuracy\n% (95 %)", justify="right", no_wrap=True)
    for _, head, _ in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for name, arm in metrics.items():
        cells = [write(arm[key]) if key in arm else MISSING for key, _, write in columns]
        table.add_row(Text(arm_name(name)), _accuracy(arm), *cells)
    return table


def _first(columns: tuple[Column, ...], measured: set[str]) -> Column:
    return next((column for column in columns if column[0] in measured), columns[-1])


def _accuracy(arm: Mapping[str, float]) -> str:
    if "accuracy" not in arm:
        return MISSING
    text = percent(arm["accuracy"])
    if "accuracy_low" not in arm or "accuracy_high" not in arm:
        return text
    return f"{text} ({percent(arm['accuracy_low'])}–{percent(arm['accuracy_high'])})"
