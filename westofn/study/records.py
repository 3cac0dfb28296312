"""study.json: what every seed measured, collected, written and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from westofn.artifacts.json_file import json_object, of_right_form, read_json, write_rows
from westofn.errors import DataError
from westofn.evaluation.records import Record
from westofn.report.metrics import ROWS
from westofn.study.catalogue import METRICS
from westofn.study.parts import INPUTS, Part

Run = dict[str, Any]
"""One seed: `main` (metrics.json), `arms` by part and name, `tables` by name."""

RUN_KEYS = ("main", "arms", "tables")

Read = Callable[[str], bytes]
"""Reads a file of one seed's run, by its path from the root of the repository."""

HEADLINE_PARTS = (Part.BASELINES,)
"""What every seed has."""
PARTS = tuple(part for part in Part if not INPUTS[part].by_iteration)
"""What a seed with ablations has, beside the parts of a round."""
KEPT = (
    *METRICS,
    "synthetic_pairs",
    "human_pairs",
    "validation_accuracy",
    "base_label_accuracy",
    "teacher_accuracy",
    "teacher_on_policy_accuracy",
    "forward_passes_a_prompt",
    "select_seconds",
    "longest_accuracy",
    "shortest_accuracy",
)
DIGITS = 5
_STAGE = "the stage of the study that writes it"


@dataclass(frozen=True)
class Study:
    """What study.json holds.

    Attributes:
        seeds: Values of `seed`, in order.
        runs: Their runs, in the same order; empty before the first `make study`.
        world: Settings of the embedded world that they share; empty in files of earlier versions.
    """

    seeds: Sequence[int]
    runs: Sequence[Run]
    world: Mapping[str, float] = field(default_factory=dict)


def read_study(path: Path) -> Study:
    """Read study.json.

    Raises:
        DataError: The file is missing or broken, or its runs are not those of its seeds.
    """
    record = read_json(path, "make study")
    seeds, runs = record.get("seeds"), record.get("runs")
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        raise DataError(f"{path}: seeds: needs a list of whole numbers; rerun make study")
    if not isinstance(runs, list) or len(runs) != len(seeds):
        count = len(runs) if isinstance(runs, list) else "no list of"
        raise DataError(f"{path}: {count} runs, needs one a seed, {len(seeds)}; rerun make study")
    for seed, run in zip(seeds, runs, strict=True):
        missing = [key for key in RUN_KEYS if not isinstance(_get(run, key), dict)]
        if missing:
            raise DataError(
                f"{path}: seed {seed}: {', '.join(missing)}: needs a JSON object; rerun make study"
            )
    world = record.get("world", {})
    if not isinstance(world, dict) or not all(type(v) in (int, float) for v in world.values()):
        raise DataError(f"{path}: world: needs a JSON object of numbers; rerun make study")
    return Study(seeds, runs, world)


def _get(run: object, key: str) -> object:
    return run.get(key) if isinstance(run, dict) else None


def write_study(study: Study, out: Path) -> None:
    """Write study.json: `seeds`, in their order `runs`, and `world`; an arm or row a line."""
    write_rows({"seeds": [*study.seeds], "runs": [*study.runs], "world": study.world}, out)


def collect(read: Read, iterations: Sequence[str], parts: Sequence[Part] = PARTS) -> Run:
    """One seed's run, rounded, without the metrics that no table shows.

    Args:
        read: Reads what the seed wrote.
        iterations: Rounds of its loop; none where it did not run the main pipeline.
        parts: The parts that it ran, those of rounds left out.

    Raises:
        DataError: A file is not JSON, or of another form.
    """
    arms: dict[str, dict[str, Record]] = {}
    tables: dict[str, list[Record]] = {}
    for part in parts:
        wrote_arms, wrote_tables = _of_part(read, part.output())
        arms[part.value] = {name: _kept(arm) for name, arm in wrote_arms.items()}
        tables |= wrote_tables
    pools = [_of_part(read, Part.ITERATIONS.output(iteration))[1] for iteration in iterations]
    tables["policy_pools"] = [row for of_round in pools for row in of_round.get("policy_pools", [])]
    main = _records(read, "metrics.json") if iterations else {}
    return {
        "main": {arm: _over_seeds(metrics) for arm, metrics in main.items() if arm != ROWS},
        "arms": arms,
        "tables": tables,
    }


def _of_part(read: Read, path: str) -> tuple[dict[str, Record], dict[str, list[Record]]]:
    """Arms and tables in the file of a part, rounded."""
    with of_right_form(path, _STAGE):
        wrote = json_object(read(path), path, _STAGE)
        arms, tables = wrote["arms"], wrote["tables"]
        return (
            {name: _rounded(arm) for name, arm in arms.items()},
            {name: [_rounded(row) for row in rows] for name, rows in tables.items()},
        )


def _records(read: Read, path: str) -> dict[str, Record]:
    with of_right_form(path, _STAGE):
        return {name: _rounded(row) for name, row in json_object(read(path), path, _STAGE).items()}


def _kept(arm: Mapping[str, Any]) -> Record:
    return {key: arm[key] for key in KEPT if key in arm}


def _over_seeds(metrics: Mapping[str, Any]) -> Record:
    """Without the intervals over one seed's test prompts, and the differences within it."""
    ends = ("_low", "_high", "_difference")
    return {key: value for key, value in metrics.items() if not key.endswith(ends)}


def _rounded(record: Mapping[str, Any]) -> Record:
    return {
        key: round(value, DIGITS) if isinstance(value, float) else value
        for key, value in record.items()
    }
