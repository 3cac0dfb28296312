"""benchmarks/hh.json: what every run measured, and what its runs say together."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.hh.baselines import baselines
from benchmarks.hh.settings import SETTINGS, TASKS, file_settings
from westofn.artifacts.json_file import write_json
from westofn.core.metrics import bootstrap_interval, correctness
from westofn.core.seeds import derive_seed
from westofn.evaluation.records import Record, with_interval
from westofn.report.study_results import Cell, cell

Read = Callable[[str], bytes]
"""A file of one run, by its path from the root of the repository."""

MODELS: Mapping[str, str] = {
    "hf50": "data/reference/hf50",
    "hf100": "data/reference/hf100",
    "k1": "data/loop/k1/rm",
    "base": "data/loop/k0/rm",
}
"""Arm of the pipeline -> its folder; `base` is the teacher."""

EVALUATED = (
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "high_confidence_accuracy",
    "ece",
    "length_correlation",
    "best_of_n_win_rate",
)
TRAINED = (
    "human_pairs",
    "human_dropped_too_long",
    "synthetic_pairs",
    "best_step",
    "validation_accuracy",
    "validation_calibrated_loss",
)
DIGITS = 5


@dataclass(frozen=True)
class Run:
    """A task with a seed.

    Attributes:
        task: Its name.
        seed: Its seed, which decides the splits too.
        counts: Rows of the prepared data by kind (`data/prepared/counts.json`).
        arms: What was measured of each reward model and baseline; an absent key was not measured.
    """

    task: str
    seed: int
    counts: Mapping[str, int]
    arms: Mapping[str, Record]


def collect(task: str, seed: int, read: Read) -> Run:
    """One run: its reward models as evaluated, and the baselines on the same test pairs."""
    preferences = pl.read_parquet(io.BytesIO(read("data/prepared/preferences.parquet")))
    prompts = pl.read_parquet(io.BytesIO(read("data/prepared/prompts.parquet")))
    return Run(
        task=task,
        seed=seed,
        counts=json.loads(read("data/prepared/counts.json")),
        arms={name: _model(name, folder, read) for name, folder in MODELS.items()}
        | baseline_records(preferences, prompts, seed),
    )


def baseline_records(
    preferences: pl.DataFrame, prompts: pl.DataFrame, seed: int
) -> dict[str, Record]:
    """The baselines with accuracies and intervals made as those of the reward models are."""
    groups = preferences.filter(pl.col("split") == "test")["prompt_id"].to_numpy()
    resamples = derive_seed(seed, "eval", "test")
    records: dict[str, Record] = {}
    for name, baseline in baselines(preferences, prompts).items():
        right = correctness(baseline.margins.numpy().astype(np.float64))
        interval = bootstrap_interval(right, groups, seed=resamples)
        records[name] = _rounded({**with_interval("accuracy", interval), **baseline.facts})
    return records


def write_runs(runs: Sequence[Run], out: Path) -> None:
    """Write settings, tasks and all runs in their order; whole or not at all."""
    content = {
        "settings": {**file_settings(), **SETTINGS},
        "tasks": {task: list(subsets) for task, subsets in TASKS.items()},
        "runs": [asdict(run) for run in runs],
    }
    write_json(content, out)


def mean(runs: Sequence[Run], arm: str, metric: str) -> Cell | None:
    """A metric over the runs of one task with its 95 % t-interval; None where a run lacks it."""
    values = _values(runs, arm, metric)
    return cell(values) if values else None


def difference(runs: Sequence[Run], arm: str, other: str, metric: str) -> Cell | None:
    """A metric of one arm less another's, paired by seed; None where a run lacks one."""
    first, second = _values(runs, arm, metric), _values(runs, other, metric)
    if not first or not second:
        return None
    return cell([a - b for a, b in zip(first, second, strict=True)])


def _values(runs: Sequence[Run], arm: str, metric: str) -> list[float]:
    """One value a run, or none at all."""
    records = [run.arms.get(arm, {}) for run in runs]
    if not all(metric in record for record in records):
        return []
    return [float(record[metric]) for record in records]


def _model(name: str, folder: str, read: Read) -> Record:
    evaluated = json.loads(read(f"data/eval/{name}/metrics.json"))
    trained = json.loads(read(f"{folder}/card.json"))["training"]
    return _rounded(_pick(evaluated, EVALUATED) | _pick(trained, TRAINED))


def _pick(record: Mapping[str, Any], keys: Sequence[str]) -> Record:
    return {key: record[key] for key in keys if key in record}


def _rounded(record: Record) -> Record:
    return {
        key: round(value, DIGITS) if isinstance(value, float) else value
        for key, value in record.items()
    }
