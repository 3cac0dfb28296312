"""Sizes at which the whole pipeline runs in a minute; they say nothing about quality."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

TINY: dict[str, Any] = {
    "prepare": {
        "world": {
            "alignment": 0.0,
            "off_policyness": 0.0,
            "sft_examples": 400,
            "train_pairs": 60,
            "validation_pairs": 20,
            "test_pairs": 40,
            "test_prompts": 12,
        },
        "files": {"max_test_prompts": 12},
    },
    "sft": {"scratch": {"width": 16, "feed_forward": 32}, "steps": 30, "batch_size": 16},
    "reward": {"steps": 8, "batch_size": 8, "average_decay": 0.5, "runs": 2, "evaluations": 2},
    "base_rm": {"runs": 1},
    "sample": {"n_candidates": 8},
    "won_select": {"stop": {"agreement": 0.0, "spread": 0.0, "distinct": 0.0, "length": 0.0}},
    "student_rm": {"learner": "network"},
    "rlhf": {"steps": 4, "batch_size": 16, "value_warmup_steps": 1, "evaluations": 2},
    "study": {
        "deep_candidates": 16,
        "deep_prompts": 6,
        "rl_steps": 4,
        "rl_evaluations": 4,
        "wide": 24,
    },
}


def shrink(params: Path, changes: dict[str, Any] | None = None) -> None:
    """Write the tiny sizes, and further changes, into a params.yaml; comments stay."""
    change(params, TINY)
    change(params, changes or {})


def change(params: Path, changes: dict[str, Any]) -> None:
    """Write changes into a params.yaml; comments stay."""
    yaml = YAML()
    document = yaml.load(params.read_text(encoding="utf-8"))
    _merge(document, changes)
    with params.open("w", encoding="utf-8") as handle:
        yaml.dump(document, handle)


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Changes of both; where both name a value, the second's."""
    result = copy.deepcopy(first)
    for key, value in second.items():
        inner = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if inner else value
    return result


def _merge(document: Any, changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict):
            _merge(document.setdefault(key, {}), value)
        else:
            document[key] = value
