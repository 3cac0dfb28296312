"""What the report reads: evaluations, selections, filter decisions and RL curves.

`read_inputs` is the only function here that touches the disk; all else in `westofn.report` works
on the frozen records it returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.curve import read_curve
from westofn.artifacts.decisions import DECISIONS
from westofn.artifacts.json_file import read_json, read_records
from westofn.artifacts.pairs import PAIRS
from westofn.artifacts.pool_margins import POOL_MARGINS
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompt_measures import PROMPT_MEASURES
from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.world import WORLD
from westofn.errors import DataError
from westofn.execution.account import Account
from westofn.execution.guards import Reading
from westofn.report.differences import differences

Record = Mapping[str, Any]
"""One point of a curve: a JSON object of numbers."""

HUMAN_ARMS = ("hf50", "hf100")
PRIOR = "prior"
"""HF50 under the covariance prior."""
BASE = "base"


@dataclass(frozen=True)
class Arm:
    """What `eval` measured of one reward model; a key that is absent was not measured.

    Attributes:
        metrics: Flat, with the differences to HF50 of `westofn.report.differences`.
        curves: Records by curve.
    """

    metrics: Record
    curves: Mapping[str, Sequence[Record]]


@dataclass(frozen=True)
class Iteration:
    """One round of the loop: the pairs it selected, what the filter decided, and its RL run.

    Attributes:
        selection: `pairs/summary.json`.
        filtering: `synthetic/summary.json`.
        rl_metrics: `rl/metrics.json`.
        rl_curve: `rl/curve.json`, one record a logged step.
        pairs: Table PAIRS.
        decisions: Table DECISIONS, one row a pair.
        margins: Table POOL_MARGINS; 0 rows for a tournament.
        candidates: The rows of table CANDIDATES that a pair or `margins` names (others are not
            needed).
    """

    selection: Record
    filtering: Record
    rl_metrics: Record
    rl_curve: Sequence[Record]
    pairs: pl.DataFrame
    decisions: pl.DataFrame
    margins: pl.DataFrame
    candidates: pl.DataFrame


@dataclass(frozen=True)
class ReportInputs:
    """All that the report shows.

    Attributes:
        arms: Evaluations by name: `base` (the pairwise teacher), `hf50`, `hf100`, `prior`,
            iterations.
        iterations: By name (`k1`, ...), in the order of the loop.
        prompts: Table PROMPTS.
        counts: Rows of the prepared data by kind, and the names of unread columns
            (`prepared/counts.json`).
        base_model: Facts to show about the base model, by name (family, comparator, ...).
        students: The same of every iteration's student.
        seed: The seed of the run: there is one, and the page says so.
        forecast: `forecast/forecast.json`: κ, gains to expect, advice.
        world: Table WORLD; 0 rows where the source has no gold annotator.
        human: Columns prompt_id, chosen and rejected of the human rows of table PREFERENCES.
        accounts: Rows that the stages used and dropped, see `read_accounts`.
        checks: What the guards say, see `read_checks`.
        training: Points of the curve of every model's training by the model's name in the report;
            a model without a curve is absent.
    """

    arms: Mapping[str, Arm]
    iterations: Mapping[str, Iteration]
    prompts: pl.DataFrame
    counts: Mapping[str, int | Sequence[str]]
    base_model: Mapping[str, str]
    students: Mapping[str, Mapping[str, str]]
    seed: int
    forecast: Record
    world: pl.DataFrame
    human: pl.DataFrame
    accounts: Sequence[Account] = ()
    checks: Sequence[Reading] = ()
    training: Mapping[str, Sequence[Record]] = field(default_factory=dict)

    @property
    def order(self) -> list[str]:
        """Arms as they are shown: HF50, the iterations, the prior, HF100, the base."""
        wanted = [HUMAN_ARMS[0], *self.iterations, PRIOR, HUMAN_ARMS[1], BASE]
        return [name for name in wanted if name in self.arms]

    @property
    def palette_order(self) -> list[str]:
        """Arms in the order of the palette: one more iteration changes no colour."""
        first, *later = self.iterations
        wanted = [*HUMAN_ARMS, BASE, first, PRIOR, *later]
        return [name for name in wanted if name in self.arms]


def read_inputs(
    data: Path,
    iterations: Sequence[str],
    *,
    base_model: Mapping[str, str],
    students: Mapping[str, Mapping[str, str]],
    accounts: Sequence[Account],
    checks: Sequence[Reading],
    seed: int,
) -> ReportInputs:
    """Read the report's inputs from the pipeline's data folder.

    Args:
        data: The folder `data/` of the pipeline.
        iterations: Names of the loop's rounds, in order; other rounds on disk are not read.
        base_model: Facts to show about the base model.
        students: Facts about the student of every iteration.
        accounts: Rows that the stages used and dropped.
        checks: What the guards say.
        seed: The seed of the run.

    Raises:
        DataError: A file is missing or broken, or a pair has no decision, candidate or prompt.
    """
    names = [BASE, *HUMAN_ARMS, PRIOR, *iterations]
    return ReportInputs(
        arms={name: _read_arm(data / "eval", name, seed) for name in names},
        iterations={name: _read_iteration(data / "loop" / name) for name in iterations},
        prompts=PROMPTS.read(data / "prepared" / "prompts.parquet"),
        counts=_read_counts(data / "prepared" / "counts.json"),
        base_model=dict(base_model),
        students={name: dict(facts) for name, facts in students.items()},
        seed=seed,
        accounts=accounts,
        checks=checks,
        world=WORLD.read(data / "world" / "world.parquet"),
        human=PREFERENCES.read(data / "prepared" / "preferences.parquet")
        .filter(pl.col("label_source") == "human")
        .select("prompt_id", "chosen", "rejected"),
        forecast=read_json(data / "forecast" / "forecast.json", "forecast"),
        training=_read_training(data, iterations),
    )


def _read_counts(path: Path) -> dict[str, int]:
    """Numbers of rows; the names of unread columns stand beside them."""
    values = _read_object(path, "prepare")
    return {name: count for name, count in values.items() if isinstance(count, int)}


def _read_training(data: Path, iterations: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The curves of all models in the order in which they are trained."""
    folders = {"SFT policy": data / "loop" / "k0" / "policy", BASE: data / "loop" / "k0" / "rm"}
    folders |= {name: data / "reference" / name for name in (*HUMAN_ARMS, PRIOR)}
    folders |= {name: data / "loop" / name / "rm" for name in iterations}
    folders |= {f"{name} policy": data / "loop" / name / "policy" for name in iterations}
    folders["autorater"] = data / "autorater"
    curves = {name: read_curve(folder) for name, folder in folders.items()}
    return {name: curve for name, curve in curves.items() if curve}


def _read_arm(evaluations: Path, name: str, seed: int) -> Arm:
    folder, reference = evaluations / name, HUMAN_ARMS[0]
    path = folder / "curves.json"
    gains: dict[str, float] = {}
    if name != reference:
        ours, theirs = (
            PROMPT_MEASURES.read(evaluations / arm / "prompt_measures.parquet")
            for arm in (name, reference)
        )
        gains = differences(ours, theirs, seed=seed)
    return Arm(
        metrics=_read_object(folder / "metrics.json", "eval") | gains,
        curves={
            name: _checked_records(records, f"{path}: {name}", "eval")
            for name, records in _read_object(path, "eval").items()
        },
    )


def _read_iteration(folder: Path) -> Iteration:
    pairs = PAIRS.read(folder / "pairs" / "pairs.parquet")
    margins = POOL_MARGINS.read(folder / "pairs" / "pool_margins.parquet")
    return Iteration(
        selection=_read_object(folder / "pairs" / "summary.json", "won_select"),
        filtering=_read_object(folder / "synthetic" / "summary.json", "filter"),
        rl_metrics=_read_object(folder / "rl" / "metrics.json", "rlhf"),
        rl_curve=_read_records(folder / "rl" / "curve.json", "rlhf"),
        pairs=pairs,
        decisions=DECISIONS.read(folder / "synthetic" / "decisions.parquet"),
        margins=margins,
        candidates=named_candidates(CANDIDATES.read(folder / "candidates.parquet"), pairs, margins),
    )


def named_candidates(
    candidates: pl.DataFrame, pairs: pl.DataFrame, margins: pl.DataFrame
) -> pl.DataFrame:
    """The candidates that a pair names as chosen or rejected, or that have a margin."""
    sides = ("chosen_index", "rejected_index")
    named = pl.concat(
        [
            *(pairs.select("prompt_id", candidate_index=side) for side in sides),
            margins.select("prompt_id", "candidate_index"),
        ]
    )
    return candidates.join(named, on=["prompt_id", "candidate_index"], how="semi")


def _read_object(path: Path, written_by: str) -> dict[str, Any]:
    return _measured(read_json(path, written_by))


def _read_records(path: Path, written_by: str) -> list[dict[str, Any]]:
    return [_measured(record) for record in read_records(path, written_by)]


def _checked_records(value: object, where: str, written_by: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise DataError(f"{where}: needs a list of JSON objects; rerun {written_by}")
    return [_measured(record) for record in value]


def _measured(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record without nulls, which mean the same as an absent key: not measured."""
    return {key: value for key, value in record.items() if value is not None}


def having(records: Iterable[Record], *keys: str) -> list[Record]:
    """The records in which every one of `keys` was measured."""
    return [record for record in records if all(key in record for key in keys)]
