"""Shared prompts are counted once, by how they are alike, whatever let them through."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from westofn.params.whole import load_params
from westofn.sources.answers import add_answers
from westofn.sources.data import SourceData
from westofn.sources.leakage import leakage
from westofn.sources.registry import load_preferences

ROOT = Path(__file__).resolve().parents[2]
NONE: dict[str, dict[str, int]] = {}
KINDS = ("same_text", "respelt", "near_duplicates")


def words(seed: int, count: int = 12) -> str:
    return " ".join(f"word{seed}x{place}" for place in range(count))


def load(tmp_path: Path, prompts: list[str], **files: Any) -> SourceData:
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": text, "chosen": "yes", "rejected": "no"} for text in prompts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    params = load_params(ROOT / "params.yaml").prepare
    changed = params.files.model_dump() | {"max_test_prompts": 50} | files
    values = params.model_dump() | {"source": "files", "path": str(path), "files": changed}
    return load_preferences(type(params).model_validate(values), 0)


def with_prompt(data: SourceData, split: str, text: str) -> SourceData:
    """The data whose first pair of a split has another prompt, and an id as if it were its own."""
    first = data.preferences.filter(split=split)["pair_id"][0]
    prompt = pl.when(pl.col("pair_id") == first).then(pl.lit(text)).otherwise(pl.col("prompt"))
    return replace(data, preferences=data.preferences.with_columns(prompt=prompt), groups=None)


def labelled(data: SourceData) -> str:
    text: str = data.hf50()["prompt"][0]
    return text


@pytest.fixture
def data(tmp_path: Path) -> SourceData:
    return load(tmp_path, [words(row) for row in range(80)])


def counts_of(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    return {kind: {parts: n for parts, n in counts[kind].items() if n} for kind in KINDS}


def test_splits_by_prompt_share_none(data: SourceData) -> None:
    counts = leakage(data)
    assert counts_of(counts) == dict.fromkeys(KINDS, NONE)
    assert all(len(counts[kind]) == 10 for kind in KINDS)
    assert sum(counts["prompts"].values()) == 80
    assert min(counts["prompts"].values()) > 0


@pytest.mark.parametrize(
    ("kind", "spell"),
    [
        ("same_text", lambda text: text),
        ("respelt", lambda text: f"  {text.upper()} "),
        ("near_duplicates", lambda text: f"{text} please"),
    ],
)
@pytest.mark.parametrize("split", ["validation", "test", "autorater"])
def test_a_shared_prompt_counts_once_by_its_kind(
    kind: str, spell: Any, split: str, data: SourceData
) -> None:
    counts = counts_of(leakage(with_prompt(data, split, spell(labelled(data)))))
    assert counts == dict.fromkeys(KINDS, NONE) | {kind: {f"train and {split}": 1}}


def test_near_duplicates_are_found_where_the_splits_ignore_them(tmp_path: Path) -> None:
    prompts = [f"{words(row)}{end}" for row in range(40) for end in ("", " please")]
    joined = load(tmp_path, prompts)
    assert joined.groups is not None  # the groups of the splits serve again
    assert counts_of(leakage(joined))["near_duplicates"] == {}
    counts = counts_of(leakage(load(tmp_path, prompts, near_duplicates="off")))
    assert counts["near_duplicates"]["train and test"] > 0
    assert counts["same_text"] == counts["respelt"] == {}


def test_near_duplicates_between_chains_that_were_cut_are_found(tmp_path: Path) -> None:
    # Each text changes two more words of 100; four steps are too far for one group.
    texts = [words(0, 100).split()]
    for place in range(0, 90, 10):
        texts.append([*texts[-1]])
        texts[-1][place], texts[-1][place + 5] = f"new{place}", f"newer{place}"
    data = load(tmp_path, [" ".join(text) for text in texts] + [words(n) for n in range(1, 40)])
    assert data.groups is not None
    assert data.groups.separated
    left, right = data.groups.separated[0]
    assert data.groups.group_of[left] != data.groups.group_of[right]
    text_of = dict(data.preferences.select("prompt_id", "prompt").iter_rows())
    moved = data.preferences.with_columns(
        split=pl.when(pl.col("prompt") == text_of[left])
        .then(pl.lit("test"))
        .when(pl.col("prompt") == text_of[right])
        .then(pl.lit("validation"))
        .otherwise(pl.col("split"))
    )
    other = pl.col("prompt_id").is_in([left, right]).not_()
    moved = replace(data, preferences=moved, prompts=data.prompts.filter(other))
    assert leakage(moved)["near_duplicates"]["validation and test"] >= 1


def test_answers_label_prompts_of_d_u_and_are_no_leak(data: SourceData, tmp_path: Path) -> None:
    prompt = data.prompts.filter(split="unlabeled")["prompt"][0]
    row = {"question_id": "q", "prompt": prompt, "response_a": "a", "response_b": "b"}
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps(row | {"label": "a"}) + "\n")
    assert leakage(add_answers(data, path)) == leakage(data)
