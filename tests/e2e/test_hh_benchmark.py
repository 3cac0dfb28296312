"""The benchmark on human preferences, end to end at a tiny size, on made-up dialogues."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Clone

ROWS = 240
WORDS = ("rain", "sun", "wind", "snow", "tree", "bird", "song", "road", "hill", "door")
# The benchmark's own settings train for minutes; the clone's are tiny.
COMMAND = """
from benchmarks.hh import settings
settings.SETTINGS = {
    "sft.scratch.tokenizer": "bytes", "sft.scratch.vocabulary": 400, "sample.n_candidates": 8
}
from benchmarks.hh.__main__ import main
main()
"""

pytestmark = pytest.mark.e2e


def write_dialogues(folder: Path) -> None:
    chance = random.Random(0)
    folder.mkdir()
    with (folder / "dialogues.jsonl").open("w", encoding="utf-8") as handle:
        for number in range(ROWS):
            prompt, one, other = (" ".join(chance.choices(WORDS, k=6)) for _ in range(3))
            row = {
                "prompt": f"\n\nHuman: {prompt} {number}?\n\nAssistant:",
                "chosen": f"please {one}",
                "rejected": other,
                "subset": ("helpful-base", "helpful-rejection-sampled")[number % 2],
            }
            handle.write(json.dumps(row) + "\n")


def test_records_and_page_come_from_a_run_on_data_outside_of_the_repository(
    make_clone: Callable[..., Clone], tmp_path: Path
) -> None:
    clone, data = make_clone(), tmp_path / "my, data"
    write_dialogues(data)
    options = ("--data", str(data), "--seeds", "1", "--task", "helpful")
    clone.run("python", "-c", COMMAND, *options)
    (run,) = json.loads((clone.root / "benchmarks/hh.json").read_text())["runs"]
    assert (run["task"], run["seed"]) == ("helpful", 0)
    assert run["counts"]["rows_in"] == run["counts"]["rows_out"] == ROWS
    assert {"hf50", "hf100", "k1", "base", "longest", "words_hf100"} <= run["arms"].keys()
    # Every chosen response has "please" and one word more.
    assert run["arms"]["longest"]["accuracy"] == run["arms"]["words_hf50"]["accuracy"] == 1.0
    assert run["arms"]["k1"]["synthetic_pairs"] > 0
    assert "best_of_n_win_rate" in run["arms"]["k1"]
    assert "## Helpful" in (clone.root / "docs/human-data.md").read_text("utf-8")
    assert str(tmp_path) not in (clone.root / "benchmarks/hh.json").read_text("utf-8")
