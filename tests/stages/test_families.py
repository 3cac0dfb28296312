"""The loop runs with models of other families than the default's, from scratch and pretrained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from tests.networks.test_pretrained import hub_folder
from tests.stages.conftest import SMALL
from tests.stages.pipeline import Tiny
from tests.tiny import merged

STAGES = (
    "check",
    "prepare",
    "sft",
    "base_rm",
    "autorater",
    "sample@k1",
    "won_select@k1",
    "filter@k1",
    "student_rm@k1",
    "eval_pool",
    "eval@k1",
    "rlhf@k1",
)
MODELS = ("data/loop/k0/policy", "data/loop/k0/rm", "data/loop/k1/rm", "data/loop/k1/policy")


def _cards(tiny: Tiny) -> list[dict[str, Any]]:
    """Of the models that are there."""
    paths = [tiny / name / "card.json" for name in MODELS]
    return [json.loads(path.read_text("utf-8")) for path in paths if path.is_file()]


def test_a_causal_model_from_scratch_goes_through_the_loop(tmp_path: Path) -> None:
    changes = merged(SMALL, {"sft": {"scratch": {"family": "causal"}}})
    tiny = Tiny.make(tmp_path / "root", changes)
    tiny.succeed(*STAGES)
    assert len(_cards(tiny)) == 4
    for card in _cards(tiny):
        assert (card["family"], card["template"]["layout"]) == ("causal", "x | y 1")
    metrics = json.loads((tiny / "data/eval/k1/metrics.json").read_text("utf-8"))
    assert 0 <= metrics["accuracy"] <= 1
    history = json.loads((tiny / "data/loop/k1/rl/history.json").read_text("utf-8"))
    assert "value_loss" in history[0]


def _dialogues(path: Path) -> None:
    """Preferences of HH's form, some of several turns."""
    words = ["the cat", "a dog", "the sun", "red moon", "so long", "good", "bad", "blue"]
    rows = []
    for i, a in enumerate(words):
        for j, b in enumerate(words):
            asked = f"\n\nHuman: {a} {i}{j}\n\nAssistant:"
            if i % 2:
                asked += f" {b}\n\nHuman: {b} {a} <|eot_id|>\n\nAssistant:"
            rows.append({"chosen": f"{asked} good {a}", "rejected": f"{asked} bad {b}"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_an_instruct_model_reads_dialogues_through_the_loop(tmp_path: Path) -> None:
    instruct = {
        "prepare": {"source": "hh", "path": "hh.jsonl"},
        "sft": {
            "model": "llama",
            "chat_template": "model",
            "max_prompt_tokens": 96,
            "max_response_tokens": 16,
            "steps": 60,  # it must have learnt to write letters and not parts of them
            "learning_rate": 1e-2,
        },
        "base_rm": {"comparator": "joint"},
        "sample": {"n_candidates": 4},
    }
    tiny = Tiny.make(tmp_path / "root", merged(SMALL, instruct))
    _dialogues(tiny / "hh.jsonl")
    hub_folder("llama", tiny / "llama", max_position_embeddings=256)
    tiny.succeed(*STAGES)
    assert len(_cards(tiny)) == 4
    digests = {card["template"]["chat"] for card in _cards(tiny)}
    assert len(digests) == 1
    assert "none" not in digests
    candidates = pl.read_parquet(tiny / "data/loop/k1/candidates.parquet")
    assert candidates.height == 4 * candidates["prompt_id"].n_unique()
    assert not candidates["response"].str.contains("eot_id").any()
