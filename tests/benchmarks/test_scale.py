"""The measurements at scale run at a small size, and MinHash joins what the exact search joins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.scale import near_copies, prepare, recall, write_pairs


def test_prepare_runs_on_synthetic_pairs(tmp_path: Path) -> None:
    figures = prepare(tmp_path, 60)
    assert figures["cpu_seconds"] > 0
    assert figures["peak_memory_mib"] > 50
    assert json.loads((tmp_path / "data/prepared/counts.json").read_text("utf-8"))["rows_in"] == 60


def test_some_prompts_repeat(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", 12_000)
    lines = (tmp_path / "pairs.jsonl").read_text("utf-8").splitlines()
    prompts = [json.loads(line)["prompt"] for line in lines]
    # A tenth of the last 2,000.
    assert 130 < len(prompts) - len(set(prompts)) < 270


def test_minhash_joins_what_the_exact_search_joins() -> None:
    pytest.importorskip("rensa")
    figures = recall(near_copies(1500))
    assert figures["in groups"] > 100
    assert figures["recall"] >= 0.99
    assert figures["wrong"] == 0
