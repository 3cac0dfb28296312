"""The stages with reward models of another family and tokenizer than the policy's."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.networks.test_pretrained import hub_folder
from tests.stages.pipeline import Tiny
from tests.tiny_encoders import write_encoder
from westofn.models.saved_reward import load_reward_model

ARMS = ("base_rm", "reference_rm@hf50", "student_rm@k1")


@pytest.fixture(scope="module")
def mixed(made: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A T5 policy of whole words, and BERTs of lower-case pieces that judge what it writes."""
    tiny = made.copy(tmp_path_factory.mktemp("mixed") / "root")
    corpus = pl.read_parquet(tiny / "data/prepared/sft.parquet")
    texts = [*corpus["prompt"].to_list(), *corpus["response"].to_list()]
    write_encoder("bert", tiny / "bert", headless=True, corpus=texts, max_position_embeddings=192)
    tiny.change({"reward_start": {"model": "bert"}, "rlhf": {"algorithm": "rloo"}})
    tiny.succeed("check", "base_rm", "won_select@k1", "filter@k1", "reference_rm@hf50")
    tiny.succeed("student_rm@k1", "eval@k1")
    return tiny


def test_every_arm_starts_from_the_same_encoder(mixed: Tiny) -> None:
    folders = ["data/loop/k0/rm", "data/reference/hf50", "data/loop/k1/rm"]
    models = [load_reward_model(mixed / folder) for folder in folders]
    assert {model.model.network.family for model in models} == {"encoder"}
    assert len({model.encoder.template.vocabulary for model in models}) == 1
    policy = json.loads((mixed / "data/loop/k0/policy/card.json").read_text(encoding="utf-8"))
    assert models[0].encoder.template.vocabulary != policy["template"]["vocabulary"]
    assert models[0].encoder.template.max_prompt_tokens == 96
    # No pair was lost to a limit of the other tokenizer's.
    for folder in folders:
        facts = json.loads((mixed / folder / "card.json").read_text("utf-8"))["training"]
        assert facts["human_pairs"] > 20
        assert facts["human_dropped_too_long"] == 0


def test_the_policys_pools_are_labelled_and_measured(mixed: Tiny, made: Tiny) -> None:
    pairs = pl.read_parquet(mixed / "data/loop/k1/pairs/pairs.parquet")
    before = pl.read_parquet(made / "data/loop/k1/pairs/pairs.parquet")
    assert pairs["prompt_id"].to_list() == before["prompt_id"].to_list()
    assert not pairs.equals(before)
    assert pairs["p_chosen"].is_between(0.5, 1).all()
    metrics = json.loads((mixed / "data/eval/k1/metrics.json").read_text(encoding="utf-8"))
    assert 0 <= metrics["accuracy"] <= 1
    scores = pl.read_parquet(mixed / "data/eval/k1/pool_scores.parquet")
    assert scores["reward"].is_finite().all()
    assert scores["reward"].n_unique() > scores.height // 4


def test_rloo_learns_from_a_reward_of_another_tokenizer(mixed: Tiny, tmp_path: Path) -> None:
    tiny = mixed.copy(tmp_path / "root")
    tiny.succeed("rlhf@k1")
    curve = json.loads((tiny / "data/loop/k1/rl/curve.json").read_text(encoding="utf-8"))
    assert len({point["reward"] for point in curve}) > 1


def test_ppo_is_refused_before_anything_is_sampled(mixed: Tiny, tmp_path: Path) -> None:
    tiny = mixed.copy(tmp_path / "root")
    tiny.change({"rlhf": {"algorithm": "ppo"}})
    tiny.fail("rlhf@k1", "an encoder-only bert", "ppo", "set rlhf.algorithm to rloo")


def test_ppo_and_an_encoder_are_refused_by_check(tiny: Tiny) -> None:
    write_encoder("bert", tiny / "bert")
    tiny.change({"reward_start": {"model": "bert"}})
    tiny.fail("check", "an encoder-only bert", "ppo", "set rlhf.algorithm to rloo")
    tiny.change({"rlhf": {"algorithm": "rloo"}, "sft": {"max_prompt_tokens": 60}})
    tiny.succeed("check")


def test_ppo_and_another_tokenizer_are_refused_by_check(tiny: Tiny) -> None:
    for model_type in ("llama", "gpt2"):
        hub_folder(model_type, tiny / model_type)
    short = {"max_prompt_tokens": 30, "max_response_tokens": 8}  # models of 64 positions
    tiny.change({"sft": {"model": "llama"} | short, "reward_start": {"model": "gpt2"}})
    tiny.fail("check", "the policy's vocabulary", "rlhf.algorithm to rloo")
    tiny.change({"reward_start": {"model": "llama"}})
    tiny.succeed("check")


def test_ppo_and_a_start_from_scratch_are_refused_by_check(tiny: Tiny) -> None:
    tiny.change({"reward_start": {"model": "scratch"}})
    tiny.fail("check", "reward_start.model scratch is encoder-only", "rlhf.algorithm ppo", "rloo")


def test_adapters_of_random_weights_are_refused_by_check(tiny: Tiny) -> None:
    tiny.change(
        {
            "reward_start": {"model": "scratch"},
            "rlhf": {"algorithm": "rloo"},
            "student_rm": {"lora": {"rank": 4}},
        }
    )
    tiny.fail("check", "student_rm.lora.rank is 4", "reward_start.model is scratch", "set")


def test_a_start_from_scratch_trains_an_arm(tiny: Tiny) -> None:
    tiny.change({"reward_start": {"model": "scratch"}, "rlhf": {"algorithm": "rloo"}})
    tiny.succeed("base_rm", "won_select@k1")
    assert load_reward_model(tiny / "data/loop/k0/rm").model.network.family == "encoder"


@pytest.mark.parametrize("stage", ARMS)
def test_a_start_that_is_not_there_ends_every_arm(stage: str, tiny: Tiny) -> None:
    tiny.change({"reward_start": {"model": "nowhere/at/all"}})
    tiny.fail(stage, "'nowhere/at/all'", "no such folder", "reward_start.model")


@pytest.mark.parametrize("stage", ARMS)
def test_positions_that_end_before_the_limits_end_every_arm(stage: str, tiny: Tiny) -> None:
    write_encoder("bert", tiny / "bert")
    tiny.change({"reward_start": {"model": "bert"}})
    tiny.fail(stage, "positions for 96 tokens", "rows of 129", "sft.max_prompt_tokens 96")
