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
from westofn.report.numbers import MISSING, percent, points

HEADLINES_FILE = "headlines.json"
COLUMNS = {
    "accuracy": "accuracy\n%",
    "on_policy_accuracy": "on-policy\n%",
    "best_of_n_win_rate": "best-of-n\nwin %",
}
"""Head by key of headlines.json."""
WORKSPACE = "workspace"
BEYOND = "*"
"""Marks a number that differs from its commit's by more than another seed changes it."""
UNFINISHED = ("queued", "running", "failed")
Values = Mapping[str, Any]


NAME = "name"


@dataclass(frozen=True)
class Run:
    """A commit, an experiment on it, or the workspace.

    Attributes:
        name: Its name, or the first digits of its revision.
        changes: Parameters that differ from its commit's: dotted key -> value.
        headlines: Content of headlines.json; empty where it has none.
        commit: Name of the commit that it was run on; empty for a commit itself.
        state: `queued`, `running` or `failed`; empty once it is done.
    """

    name: str
    changes: Mapping[str, Any]
    headlines: Mapping[str, Values]
    commit: str = ""
    state: str = ""

    def value(self, key: str) -> float | None:
        """Return a number of the last iteration's student; None where it was not measured."""
        rounds = [name for name in self.headlines if name[:1] == "k" and name[1:].isdigit()]
        last = max(rounds, key=lambda name: int(name[1:]), default="")
        value: float | None = self.headlines.get(last, {}).get(key)
        return value

    def gain(self, key: str) -> float | None:
        """Return how far this number is above HF50's; None where one of them is missing."""
        value, reference = self.value(key), self.headlines.get(REFERENCE, {}).get(key)
        return None if value is None or reference is None else value - reference


def runs_of(shown: Sequence[Mapping[str, Any]], order: str) -> list[Run]:
    """Read what `dvc exp show --json` printed.

    Args:
        shown: The commits, the workspace first, each with its experiments.
        order: Key of COLUMNS by which the experiments of a commit are sorted, the largest number
            first; or NAME.

    Returns:
        The workspace, then every commit, followed by its experiments.
    """
    runs: list[Run] = []
    head = next((each for each in shown if each["rev"] != WORKSPACE), None)
    for commit in shown:
        is_workspace = commit["rev"] == WORKSPACE
        before = _params(head if head and is_workspace else commit)
        name = _name(commit)
        runs.append(_run(commit, before, name, _name(head) if head and is_workspace else ""))
        experiments = [
            _run(
                experiment["revs"][0],
                before,
                experiment.get("name") or _name(experiment["revs"][0]),
                name,
                (experiment.get("executor") or {}).get("state", ""),
            )
            for experiment in commit.get("experiments") or []
            if experiment["revs"]
        ]
        runs += sorted(experiments, key=lambda run: _rank(run, order))
    return runs


def _rank(run: Run, order: str) -> tuple[float, str]:
    value = None if order == NAME else run.value(order)
    return (0.0 if value is None else -value, run.name)


def _run(shown: Mapping[str, Any], before: Values, name: str, commit: str, state: str = "") -> Run:
    after = _params(shown)
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    file = ((shown.get("data") or {}).get("metrics") or {}).get(HEADLINES_FILE) or {}
    changes = {key: after.get(key, "removed") for key in keys} if before and after else {}
    headlines = {} if state in UNFINISHED else file.get("data") or {}
    return Run(name, changes, headlines, commit, state if state in UNFINISHED else "")


def _name(shown: Mapping[str, Any]) -> str:
    revision = str(shown["rev"])
    return str(shown.get("name") or (revision if revision == WORKSPACE else revision[:7]))


def _params(shown: Mapping[str, Any]) -> Values:
    files = ((shown.get("data") or {}).get("params") or {}).values()
    return dict(item for file in files for item in _flat(file.get("data") or {}))


def _flat(values: Values, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def print_runs(runs: Sequence[Run], noise: Values, console: Console) -> None:
    """Print the runs as a table that fits 80 columns.

    Args:
        runs: What `runs_of` returned.
        noise: By key of COLUMNS, how far two seeds differ in 95 % of cases; empty if unknown.
        console: Where to print.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    table.add_column("run", max_width=22, overflow="fold")
    table.add_column("changed", overflow="fold")
    for head in COLUMNS.values():
        table.add_column(head, justify="right", no_wrap=True)
    commits = {run.name: run for run in runs if not run.commit}
    for run in runs:
        below = commits.get(run.commit)
        indent = "" if below is None or run.name == WORKSPACE else "  "
        name = f"{indent}{run.name}{f' ({run.state})' if run.state else ''}"
        changes = "\n".join(f"{key} {value}" for key, value in run.changes.items())
        table.add_row(
            Text(name), Text(changes), *(_cell(run, below, key, noise) for key in COLUMNS)
        )
    console.print(table)
    console.print(
        "Numbers of the last student, in brackets its difference to HF50 in points. "
        + _noise_text(noise)
        + " `dvc exp apply RUN` brings an experiment into the workspace; `dvc params diff A B` and "
        "`dvc metrics diff A B` compare two."
    )


def _noise_text(noise: Values) -> str:
    if not noise:
        return (
            "How far another seed alone moves them is not known for these data; compare seeds, "
            "with `dvc exp run -S seed=1`."
        )
    differences = ", ".join(f"{COLUMNS[key].split()[0]} {percent(noise[key])}" for key in noise)
    return (
        f"Two seeds of the study differ by up to {differences} points (95 %); {BEYOND} marks what "
        "differs from its commit by more."
    )


def _cell(run: Run, below: Run | None, key: str, noise: Values) -> str:
    value, gain = run.value(key), run.gain(key)
    if value is None:
        return MISSING
    before = below.value(key) if below else None
    is_beyond = before is not None and key in noise and abs(value - before) > noise[key]
    mark = BEYOND if is_beyond else ""
    return f"{percent(value)}{mark}{'' if gain is None else f' ({points(gain)})'}"
