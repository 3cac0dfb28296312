"""The readings of all guards of a run, from the numbers that the stages wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from westofn.artifacts.json_file import read_json
from westofn.artifacts.pair_scores import PAIR_SCORES
from westofn.execution.guards import (
    Reading,
    leakage_readings,
    reward_model_readings,
    rl_readings,
    sample_readings,
)
from westofn.report.inputs import BASE, HUMAN_ARMS, PRIOR


def read_checks(data: Path, iterations: Sequence[str]) -> list[Reading]:
    """Read what every guard of a run says.

    Args:
        data: The folder `data/` of the pipeline.
        iterations: Names of the loop's rounds, in order. The teacher of the first is the base
            model, that of a later one the student of the round before.

    Raises:
        DataError: A file is missing or broken.
    """
    readings = leakage_readings(read_json(data / "prepared" / "leakage.json", "prepare"))
    for name in (BASE, *HUMAN_ARMS, PRIOR, *iterations):
        metrics = read_json(data / "eval" / name / "metrics.json", "eval")
        readings += reward_model_readings(name, metrics)
    for teacher, name in zip((BASE, *iterations), iterations, strict=False):
        folder = data / "loop" / name
        readings += sample_readings(f"sample {name}", read_json(folder / "counts.json", "sample"))
        readings.append(Reading("agreement", name, _agreement(data / "eval", name, teacher)))
        rl = read_json(folder / "rl" / "metrics.json", "rlhf")
        readings += rl_readings(f"rlhf {name}", rl)
    return readings


def _agreement(evaluations: Path, student: str, teacher: str) -> float:
    """Share of the test pairs that two models order alike; a tie of one of them counts half."""
    ours, theirs = (
        PAIR_SCORES.read(evaluations / name / "pair_scores.parquet").filter(pl.col("set") == "test")
        for name in (student, teacher)
    )
    pairs = ours.join(theirs, on="pair_id", suffix="_teacher")
    signs = [(pl.col(name) - 0.5).sign() for name in ("p_chosen", "p_chosen_teacher")]
    return float(pairs.select(((signs[0] * signs[1] + 1) / 2).mean()).item())
