"""The runs of a repository beside each other: commits and DVC experiments, by their headlines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from westofn.report.console import REFERENCE
from westofn.report.numbers import MISSING, percent

HEADLINES_FILE = "headlines.json"
COLUMNS = (
    ("accuracy", "accuracy\n%"),
    ("on_policy_accuracy", "on-policy\n%"),
    ("best_of_n_win_rate", "best-of-n\nwin %"),
)
"""Key of headlines.json and head."""
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A commit, an experiment on it, or the workspace.

    Attributes:
        name: Its name, or the first digits of its revision.
        changes: Parameters that differ from the commit above it: dotted key -> value.
        headlines: Content of headlines.json; empty where it has none.
        is_experiment: Whether it is shown below a commit.
    """

    name: str
    changes: Mapping[str, Any]
    headlines: Mapping[str, Values]
    is_experiment: bool = False


def runs_of(shown: Sequence[Mapping[str, Any]]) -> list[Run]:
    """Read what `dvc exp show --json` printed.

    Args:
        shown: The commits, the workspace first, each with its experiments.
    """
    runs: list[Run] = []
    head = next((each for each in shown if each["rev"] != "workspace"), None)
    for commit in shown:
        before = _params(head if head and commit["rev"] == "workspace" else commit)
        runs.append(_run(commit, before, _name(commit)))
        for experiment in commit.get("experiments") or []:
            for revision in experiment["revs"][:1]:
                name = experiment.get("name") or _name(revision)
                runs.append(_run(revision, before, name, is_experiment=True))
    return runs


def _run(shown: Mapping[str, Any], before: Values, name: str, is_experiment: bool = False) -> Run:
    after = _params(shown)
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    file = ((shown.get("data") or {}).get("metrics") or {}).get(HEADLINES_FILE) or {}
    changes = {key: after.get(key, "removed") for key in keys} if before and after else {}
    return Run(name, changes, file.get("data") or {}, is_experiment)


def _name(shown: Mapping[str, Any]) -> str:
    revision = str(shown["rev"])
    return str(shown.get("name") or (revision if revision == "workspace" else revision[:7]))


def _params(shown: Mapping[str, Any]) -> Values:
    files = ((shown.get("data") or {}).get("params") or {}).values()
    return dict(item for file in files for item in _flat(file.get("data") or {}))


def _flat(values: Values, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def print_runs(runs: Sequence[Run], console: Console) -> None:
    """Print the runs as a table that fits 80 columns.

    Numbers are those of the last iteration's student, in brackets its difference to HF50.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", max_width=20, overflow="fold")
    table.add_column("changed", max_width=26, overflow="fold")
    for _, head in COLUMNS:
        table.add_column(head, justify="right", no_wrap=True)
    for run in runs:
        changes = "\n".join(f"{key} {value}" for key, value in run.changes.items())
        name = f"  {run.name}" if run.is_experiment else run.name
        table.add_row(Text(name), Text(changes), *(_cell(run.headlines, key) for key, _ in COLUMNS))
    console.print(table)
    console.print(
        "Of the last student, in brackets its difference to HF50. `dvc exp apply RUN` brings an "
        "experiment into the workspace; `dvc metrics diff` and `dvc params diff` compare two."
    )


def _cell(headlines: Mapping[str, Values], key: str) -> str:
    rounds = [name for name in headlines if name[:1] == "k" and name[1:].isdigit()]
    last = headlines.get(max(rounds, key=lambda name: int(name[1:]), default=""), {})
    if (value := last.get(key)) is None:
        return MISSING
    reference = headlines.get(REFERENCE, {}).get(key)
    gain = "" if reference is None else f" ({100 * (value - reference):+.1f})"
    return f"{percent(value)}{gain}"
