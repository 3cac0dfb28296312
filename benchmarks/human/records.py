"""benchmarks/human.json: what every run measured, and what its runs say together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from westofn.artifacts.json_file import read_json, write_json
from westofn.evaluation.records import Record
from westofn.study.means import Cell, cell

DIGITS = 5


@dataclass(frozen=True)
class Measured:
    """One cell of a run: human pairs of one condition, and a number of labels.

    Attributes:
        condition: `all`, or one of settings.CONDITIONS.
        labels: Pairs in HF50 that were asked for.
        pairs: Pairs in HF50 that there were, and in HF100.
        directions: κ, κ_H, their ratio and the agreement of halves, medians over draws; empty
            where halves never agreed.
        forecast: What `westofn forecast` says from the first draw: `west` and `twice`, means in
            points of held-out accuracy, with the ends of their 95 % intervals.
        heads: Arm -> record of linear heads, means over draws.
        networks: Arm -> record of trained networks on one draw; empty where none was trained.
        gold: Arm -> label correctness against N; empty in tasks without human pools.
    """

    condition: str
    labels: int
    pairs: tuple[int, int]
    directions: Record
    forecast: Record
    heads: Mapping[str, Record]
    networks: Mapping[str, Record] = field(default_factory=dict)
    gold: Mapping[str, Sequence[Record]] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A task with a model and a seed.

    Attributes:
        task: Its name.
        model: settings.SCRATCH, or the name of a pretrained one.
        seed: Decides splits, policy, samples and draws.
        counts: Rows and pairs.
        cells: In the order of settings.
        baselines: Arm without a reward model -> record.
        gold: The same -> label correctness against N.
    """

    task: str
    model: str
    seed: int
    counts: Mapping[str, int]
    cells: Sequence[Measured]
    baselines: Mapping[str, Record]
    gold: Mapping[str, Sequence[Record]]


def run_of(record: Mapping[str, Any]) -> Run:
    """A run from its JSON."""
    cells = [
        Measured(**{**found, "pairs": (found["pairs"][0], found["pairs"][1])})
        for found in record["cells"]
    ]
    return Run(**{**record, "cells": cells})


def rounded(value: Any) -> Any:
    """A JSON value with DIGITS decimals."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def write_runs(runs: Sequence[Run], settings: Mapping[str, Any], out: Path) -> None:
    """Write settings and all runs; whole or not at all."""
    write_json({"settings": settings, "runs": [rounded(asdict(run)) for run in runs]}, out)


Get = Callable[[Run], float | None]
"""A number of one run; None where it was not measured."""


def mean(runs: Sequence[Run], get: Get) -> Cell | None:
    """Its mean over seeds with the 95 % t-interval, over the runs that have it."""
    values = [value for run in runs if (value := get(run)) is not None]
    return cell(values) if values else None


def difference(runs: Sequence[Run], get: Get, other: Get) -> Cell | None:
    """One number less another, paired by seed, over the runs that have both."""
    values = [
        first - second
        for run in runs
        if (first := get(run)) is not None and (second := other(run)) is not None
    ]
    return cell(values) if values else None


def finished_runs(settings: Mapping[str, Any], out: Path) -> tuple[dict[str, Any], list[Run]]:
    """Read what of a file stays: runs with the same settings and data, and other tasks.

    Args:
        settings: Task that is asked for -> its settings.
        out: The file; without it nothing stays.

    Returns:
        The settings of all tasks, and the runs.
    """
    if not out.is_file():
        return dict(settings), []
    record = read_json(out, "make human")
    changed = {name for name, value in settings.items() if record["settings"].get(name) != value}
    runs = [run_of(run) for run in record["runs"] if run["task"] not in changed]
    return {**record["settings"], **settings}, runs
