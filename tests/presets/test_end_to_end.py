"""Every preset runs through the loop: its own file, with a tiny model of the family swapped in.

Sizes, steps and the model's folder are changed and nothing else: data lie where the preset reads
them, in the columns that their publishers gave them.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.networks.test_pretrained import hub_folder
from tests.presets import rows
from tests.stages.conftest import SMALL
from tests.stages.pipeline import Tiny
from tests.tiny import merged
from tests.tiny_encoders import write_encoder
from westofn.params.whole import load_params
from westofn.presets.apply import write_preset
from westofn.presets.catalogue import PRESETS, preset_named

LETTERS = sorted({*string.ascii_letters, *string.digits, *string.punctuation, "Ġ", "Ċ"})
SIZES: dict[str, Any] = merged(
    SMALL,
    # So many candidates that some end, though the policy learned nothing.
    {"sft": {"max_response_tokens": 12}, "sample": {"n_candidates": 32}},
)


@dataclass(frozen=True)
class Case:
    """What stands in for what a preset names.

    Attributes:
        model_type: Of its model.
        family: The same.
        data: Writes its data.
        read: Whether preferences and demonstrations are what the preset means.
        start: Type of the encoder from which reward models start; empty: from the policy.
    """

    model_type: str
    family: str
    data: Callable[[Path], None]
    read: Callable[[pl.DataFrame, pl.DataFrame], bool]
    start: str = ""


def _tldr(root: Path) -> None:
    rows.comparisons(root / "raw/tldr/comparisons")
    rows.posts(root / "raw/tldr/posts.jsonl")


def _hh(root: Path) -> None:
    rows.hh(root / "raw/hh")


def _ultrafeedback(root: Path) -> None:
    rows.ultrafeedback(root / "raw/ultrafeedback")


def _files(root: Path) -> None:
    rows.conversations(root / "raw/pairs.jsonl")


def _summaries(preferences: pl.DataFrame, sft: pl.DataFrame) -> bool:
    """Demonstrations are the posts, which begin with `so`, and not the chosen summaries."""
    posts = sft["prompt"].str.contains("POST: so ").all()
    return posts and not preferences["prompt"].str.contains("POST: so the").any()


def _subset(name: str) -> Callable[[pl.DataFrame, pl.DataFrame], bool]:
    def read(preferences: pl.DataFrame, sft: pl.DataFrame) -> bool:
        prompts = [*preferences["prompt"], *sft["prompt"]]
        return len(prompts) > 40 and all(f"Human: {name}" in prompt for prompt in prompts)

    return read


def _by_models(preferences: pl.DataFrame, sft: pl.DataFrame) -> bool:
    best = [*preferences["chosen"], *sft["response"]]
    labels = set(preferences["label_source"])
    return labels == {"ai_judge"} and all(text.startswith("good") for text in best)


def _dialogues(preferences: pl.DataFrame, sft: pl.DataFrame) -> bool:
    return all(text.startswith("\n\nHuman: ") for text in [*preferences["prompt"], *sft["prompt"]])


CASES = {
    "tldr-t5-xxl": Case("t5", "encoder_decoder", _tldr, _summaries),
    "tldr-qwen": Case("qwen2", "causal", _tldr, _summaries),
    "hh-helpful": Case("qwen2", "causal", _hh, _subset("helpful")),
    "hh-harmless": Case("qwen2", "causal", _hh, _subset("harmless")),
    "ultrafeedback-gemma": Case("gemma", "causal", _ultrafeedback, _by_models),
    "files-small": Case("qwen2", "causal", _files, _dialogues),
    "hh-smollm2": Case("llama", "causal", _hh, _subset("helpful-base")),
    "hh-minilm": Case("llama", "causal", _hh, _subset("helpful-base"), "bert"),
}


def test_every_preset_has_its_case() -> None:
    assert ["world", *CASES] == [preset.name for preset in PRESETS]  # world: tests/stages


@pytest.mark.parametrize("name", CASES)
def test_a_preset_runs_from_its_data_to_the_report(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    tiny = Tiny.make(tmp_path / "root")
    assert write_preset(preset_named(name), tiny / "params.yaml", force=True)
    meant = load_params(tiny / "params.yaml")
    longest = {} if case.model_type == "t5" else {"max_position_embeddings": 2048}
    hub_folder(case.model_type, tiny / "model", LETTERS, **longest)
    case.data(tiny.root)
    tiny.shrink(merged(SIZES, {"sft": {"model": "model"}}))
    if case.start:
        write_encoder(case.start, tiny / "start", max_position_embeddings=512)
        tiny.change({"reward_start": {"model": "start"}, "sample": {"n_candidates": 96}})
    tiny.succeed(*tiny.stages)

    cards = [json.loads(path.read_text("utf-8")) for path in tiny.root.glob("data/**/card.json")]
    assert len(cards) >= 7  # policy, base, student, HF50, HF100, autorater, next policy
    for card in cards:
        is_encoder = case.start and card["role"] == "reward_model"
        family = "encoder" if is_encoder else case.family
        assert (card["family"], card["precision"]) == (family, meant.sft.precision)
    assert {card["template"]["chat"] != "none" for card in cards} == {
        meant.sft.chat_template == "model"
    }
    ranks = {
        "k0/policy": meant.sft.lora.rank,
        "k0/rm": meant.base_rm.lora.rank,
        "k1/rm": meant.student_rm.lora.rank,
        "k1/policy": meant.rlhf.lora.rank,
    }
    for model, rank in ranks.items():
        card = json.loads((tiny / f"data/loop/{model}/card.json").read_text("utf-8"))
        assert card["training"].get("lora_rank", 0) == rank, model
    preferences = pl.read_parquet(tiny / "data/prepared/preferences.parquet")
    assert case.read(preferences, pl.read_parquet(tiny / "data/prepared/sft.parquet"))
    pairs = pl.read_parquet(tiny / "data/loop/k1/pairs/pairs.parquet")
    assert pairs.height > 5
    metrics = json.loads((tiny / "metrics.json").read_text("utf-8"))
    assert {"hf50", "hf100", "k1"} <= metrics.keys()
    assert (tiny / "data/report/report.html").is_file()
