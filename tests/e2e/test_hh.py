"""Real human preferences, end to end at a tiny size: the first 300 pairs of Anthropic HH."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

import pytest

from tests.e2e.conftest import ROOT, Clone

SOURCE = ROOT.parent / "shared" / "data" / "hh-rlhf-8k" / "train.jsonl.gz"
PAIRS = 300

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not SOURCE.is_file(), reason=f"needs {SOURCE}: human data is not shipped"),
]


@pytest.fixture(scope="module")
def clone(make_clone: Callable[..., Clone]) -> Clone:
    clone = make_clone(
        {
            "prepare": {"source": "hh", "path": "raw/hh.jsonl"},
            "sft": {
                "scratch": {"tokenizer": "bytes", "vocabulary": 1000},
                "max_response_tokens": 96,
            },
            "sample": {"n_candidates": 24},  # so many that some end
        }
    )
    with gzip.open(SOURCE, "rt", encoding="utf-8") as handle:
        lines = [next(handle) for _ in range(PAIRS)]
    (clone.root / "raw").mkdir()
    (clone.root / "raw" / "hh.jsonl").write_text("".join(lines), encoding="utf-8")
    clone.commit("data")
    clone.run("dvc", "repro")
    return clone


def test_every_row_is_accounted_for(clone: Clone) -> None:
    counts = json.loads((clone.root / "data/prepared/counts.json").read_text())
    dropped = sum(value for key, value in counts.items() if key.startswith("dropped_"))
    assert counts["rows_in"] == PAIRS
    assert counts["rows_in"] == counts["rows_out"] + dropped


def test_an_autorater_judges_where_there_is_no_gold(clone: Clone) -> None:
    found = json.loads((clone.root / "metrics.json").read_text())
    assert 0 <= found["k1"]["best_of_n_win_rate"] <= 1
    assert not [key for arm in found.values() for key in arm if "gold" in key]
    assert (
        json.loads((clone.root / "data/eval/k1/metrics.json").read_text())["judge"] == "autorater"
    )


def test_sft_learns_the_chosen_responses(clone: Clone) -> None:
    import polars as pl

    sft = pl.read_parquet(clone.root / "data/prepared/sft.parquet")
    human = pl.read_parquet(clone.root / "data/prepared/preferences.parquet")
    train = human.filter(pl.col("split") == "train")
    assert set(sft.filter(pl.col("split") == "train")["response"]) == set(train["chosen"])
