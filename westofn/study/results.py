"""One seed's records for study.json; `westofn.report.study_results` reads them back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from westofn.evaluation.records import Record
from westofn.report.study_results import METRICS, Run

Read = Callable[[str], bytes]
"""A file of one seed's run, by its path from the root of the repository."""

HEADLINE_PARTS = ("baselines",)
"""What every seed has."""
PARTS = (
    *HEADLINE_PARTS,
    "networks",
    "synthetic_bases",
    "selection",
    "teachers",
    "data",
    "size",
    "overoptimisation",
)
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


def collect(read: Read, iterations: Sequence[str], parts: Sequence[str] = PARTS) -> Run:
    """One seed's run, rounded, without what no table shows.

    Args:
        read: Reads what the seed wrote.
        iterations: Rounds of its loop; none where it did not run the main pipeline.
        parts: That it ran; the others are absent.
    """
    arms: dict[str, dict[str, Record]] = {}
    tables: dict[str, list[Record]] = {}
    for part in parts:
        found = json.loads(read(f"data/study/{part}.json"))
        arms[part] = {name: _kept(arm) for name, arm in found["arms"].items()}
        tables |= {name: [_rounded(row) for row in rows] for name, rows in found["tables"].items()}
    tables["policy_pools"] = []
    for name in iterations:
        found = json.loads(read(f"data/study/iterations/{name}.json"))
        tables["policy_pools"] += [_rounded(row) for row in found["tables"].get("policy_pools", [])]
    main = json.loads(read("metrics.json")) if iterations else {}
    return {
        "main": {arm: _rounded(_over_seeds(metrics)) for arm, metrics in main.items()},
        "arms": arms,
        "tables": tables,
    }


def _kept(arm: Mapping[str, Any]) -> Record:
    return _rounded({key: arm[key] for key in KEPT if key in arm})


def _over_seeds(metrics: Mapping[str, Any]) -> Record:
    """Without what is of one seed's test prompts alone: ends of intervals, and differences."""
    ends = ("_low", "_high", "_difference")
    return {key: value for key, value in metrics.items() if not key.endswith(ends)}


def _rounded(record: Mapping[str, Any]) -> Record:
    return {
        key: round(value, DIGITS) if isinstance(value, float) else value
        for key, value in record.items()
    }
