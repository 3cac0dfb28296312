"""TRL trains on the exported pairs as they are, as docs/out.md says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from tests.optional.conftest import snippet
from westofn.artifacts.preferences import PREFERENCES
from westofn.exporting.forms import Form, implicit_prompt
from westofn.exporting.pairs import export_pairs

pytest.importorskip("trl", reason="needs TRL: pip install -e '.[trl]'")
pytestmark = pytest.mark.filterwarnings("default")
FORMS: tuple[Form, ...] = ("explicit", "implicit", "conversational")


def load(folder: Path, root: Path, form: Form, suffix: str = ".jsonl") -> Any:
    """The exported pairs as a data set."""
    from datasets import load_dataset

    out = root / f"{form}" / f"pairs{suffix}"
    export_pairs(out, data=folder, iteration="k1", form=form, include="mixed")
    kind = {".jsonl": "json", ".parquet": "parquet"}[suffix]
    cache = str(root / "cache")
    return load_dataset(kind, data_files=str(out), split="train", cache_dir=cache)


def settings(config: Any, root: Path) -> Any:
    """One step over all pairs, on the CPU."""
    return config(
        output_dir=str(root / "trained"),
        max_steps=1,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        report_to="none",
        use_cpu=True,
        bf16=False,
    )


def reward_trainer(pairs: Any, causal: Path, root: Path) -> Any:
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    model = AutoModelForSequenceClassification.from_pretrained(causal, num_labels=1)
    return RewardTrainer(model=model, args=settings(RewardConfig, root), train_dataset=pairs)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_a_reward_model_trains_a_step(
    form: Form, suffix: str, data: Path, causal: Path, tmp_path: Path
) -> None:
    trainer = reward_trainer(load(data, tmp_path, form, suffix), causal, tmp_path)
    before = trainer.model.score.weight.detach().clone()
    assert len(trainer.train_dataset) == 4
    assert math.isfinite(trainer.train().training_loss)
    assert not torch.equal(trainer.model.score.weight, before)


def test_explicit_and_implicit_pairs_are_one_text(data: Path, causal: Path, tmp_path: Path) -> None:
    explicit, implicit = (
        reward_trainer(load(data, tmp_path, form), causal, tmp_path) for form in FORMS[:2]
    )
    decode = explicit.processing_class.decode
    for side in ("chosen_ids", "rejected_ids"):
        assert explicit.train_dataset[side] == implicit.train_dataset[side]
    assert decode(explicit.train_dataset["chosen_ids"][2]) == "Ask c good c</s>"


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_dpo_finds_the_prompt_that_the_card_counts(suffix: str, data: Path, tmp_path: Path) -> None:
    from trl import extract_prompt

    path = data / "loop" / "k1" / "synthetic" / "preferences.parquet"
    sides = pl.Series(["The cat", "a bad dog"]), pl.Series(["The dog", "a bad"])
    pairs = PREFERENCES.read(path).with_columns(chosen=sides[0], rejected=sides[1])
    PREFERENCES.write(pairs, path)
    loaded = load(data, tmp_path, "implicit", suffix)
    split = [extract_prompt(row)["prompt"] for row in loaded]
    assert split == [implicit_prompt(row["chosen"], row["rejected"]) for row in loaded]
    assert split[2:] == ["Ask c The", "Ask d\na ba"]
    assert "in 2 of 4 pairs this is not" in (tmp_path / "implicit" / "README.md").read_text()


@pytest.mark.parametrize("form", FORMS)
def test_dpo_trains_a_step(form: Form, data: Path, causal: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    model = AutoModelForCausalLM.from_pretrained(causal)
    before = model.lm_head.weight.detach().clone()
    trainer = DPOTrainer(
        model=model, args=settings(DPOConfig, tmp_path), train_dataset=load(data, tmp_path, form)
    )
    # Before the first update policy and reference agree, so that the loss is log 2.
    assert trainer.train().training_loss == pytest.approx(math.log(2), abs=1e-4)
    assert not torch.equal(model.lm_head.weight, before)


@pytest.mark.parametrize("trainer", ["RewardTrainer", "DPOTrainer"])
def test_the_page_shows_what_runs(
    trainer: str, data: Path, causal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    out = tmp_path / "exports" / "k1" / "pairs.jsonl"
    export_pairs(out, data=data, iteration="k1", form="explicit", include="mixed")
    few = 'output_dir="trained", max_steps=1, report_to="none", use_cpu=True, bf16=False'
    names: dict[str, Any] = {}
    exec(
        snippet(trainer, {'"a-causal-model"': repr(str(causal)), 'output_dir="trained"': few}),
        names,
    )
    assert len(names["trainer"].train_dataset) == 4
    assert names["trainer"].state.global_step == 1
