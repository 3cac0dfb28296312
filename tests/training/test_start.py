"""Reward models may start from another model than the policy: one start for every arm of a run."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tests.chat_templates import chatting
from tests.small_families import tiny_model
from tests.small_models import (
    COMPARATORS,
    PROMPTS,
    RESPONSES,
    reward_params,
    start_params,
    tiny_policy,
)
from tests.tiny_encoders import ENCODERS, write_encoder
from tests.training.planted import planted_pairs
from tests.training.test_preference import CPU
from westofn.errors import ModelError
from westofn.models.policy import Policy, save_policy
from westofn.models.saved_reward import load_reward_model, save_reward_model
from westofn.models.scoring import pair_margins
from westofn.networks.precision import rounded
from westofn.params.comparator import ComparatorName
from westofn.params.lora import LoraParams
from westofn.text.encoding import Encoder
from westofn.training.pairs import Preferences, TrainingPairs
from westofn.training.preference import train_reward_model
from westofn.training.recipe import Head, Recipe
from westofn.training.start import reward_start
from westofn.training.trained import TrainedReward

CANARIES = [("the cat", "good")]


@pytest.fixture(scope="module")
def policy(small_encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 of one token a word, prompts of at most 10 and responses of at most 8 tokens."""
    folder = tmp_path_factory.mktemp("policy") / "policy"
    save_policy(tiny_policy(small_encoder, seed=4), folder, CANARIES, {})
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT as pretraining leaves it: without weights of its pooler."""
    return str(write_encoder("bert", tmp_path_factory.mktemp("bert") / "bert", headless=True))


def _train(
    start: str,
    policy: Path,
    folder: Path,
    human: Preferences | None = None,
    validation: Preferences | None = None,
    comparator: ComparatorName = "pointwise",
    **changes: Any,
) -> TrainedReward:
    return train_reward_model(
        "student_rm",
        TrainingPairs(
            human or planted_pairs(24, seed=1), None, validation or planted_pairs(16, seed=2)
        ),
        Recipe(policy, start_params(start), reward_params(**changes), 0, Head(comparator, 2)),
        folder,
        CPU,
    )


LEARN = {"steps": 60, "batch_size": 32, "learning_rate": 4e-3, "average_decay": 0.5}


@pytest.mark.parametrize("readout", ["mean", "last"])
@pytest.mark.parametrize("start", ["bert", "scratch"])
def test_an_encoder_learns_a_planted_preference(
    start: str, readout: str, bert: str, policy: Path, tmp_path: Path
) -> None:
    trained = _train(
        bert if start == "bert" else start,
        policy,
        tmp_path / "scratch",
        planted_pairs(300, seed=1),
        planted_pairs(200, seed=2),
        readout=readout,
        **LEARN,
    )
    save_reward_model(trained.scorer, tmp_path / "rm", CANARIES, trained.facts)
    fresh = planted_pairs(200, seed=3)
    margins = pair_margins(
        load_reward_model(tmp_path / "rm"), fresh.prompts, fresh.chosen, fresh.rejected
    )
    assert float((margins > 0).float().mean()) > 0.95


def test_an_encoder_finds_nothing_in_shuffled_labels(
    bert: str, policy: Path, tmp_path: Path
) -> None:
    human = planted_pairs(300, seed=1, shuffled=True)
    trained = _train(
        bert, policy, tmp_path, human, planted_pairs(400, seed=2, shuffled=True), **LEARN
    )
    # 400 fair coins have a standard deviation of 0.025, and the best of 3 evaluations was taken.
    assert abs(float(trained.facts["validation_accuracy"]) - 0.5) < 0.08


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_every_comparator_trains_from_an_encoder(
    comparator: ComparatorName, bert: str, policy: Path, tmp_path: Path
) -> None:
    trained = _train(bert, policy, tmp_path / "scratch", comparator=comparator, runs=2)
    save_reward_model(trained.scorer, tmp_path / "rm", CANARIES, trained.facts)
    again = load_reward_model(tmp_path / "rm")
    assert again.comparator.name == comparator
    forth = pair_margins(again, PROMPTS, RESPONSES, RESPONSES[::-1])
    back = pair_margins(again, PROMPTS, RESPONSES[::-1], RESPONSES)
    torch.testing.assert_close(forth, -back, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_start_keeps_its_tokenizer_and_the_policys_limits(
    kind: str, policy: Path, tmp_path: Path
) -> None:
    folder = write_encoder(kind, tmp_path / kind)
    start = reward_start(start_params(str(folder)), policy, "joint", seed=0)
    own = AutoTokenizer.from_pretrained(folder)
    assert start.encoder.tokenizer.get_vocab() == own.get_vocab()
    assert start.encoder.template.max_prompt_tokens == 10
    assert start.encoder.template.max_response_tokens == 8
    assert start.model.config.model_type == kind


@pytest.mark.parametrize("name", ["bert", "scratch"])
def test_arms_of_one_seed_start_alike_whatever_their_comparator(
    name: str, bert: str, policy: Path
) -> None:
    params = start_params(bert if name == "bert" else name)

    def weights(comparator: ComparatorName, seed: int) -> dict[str, Tensor]:
        torch.manual_seed(123 + seed)  # what happened before does not matter
        return dict(reward_start(params, policy, comparator, seed).model.state_dict())

    base, student = weights("embedding", 0), weights("pointwise", 0)
    other = weights("pointwise", 1)
    assert base.keys() == student.keys()
    assert all(torch.equal(base[key], student[key]) for key in base)
    assert any(not torch.equal(other[key], student[key]) for key in other)


def test_a_start_from_scratch_reads_the_policys_tokenizer(
    policy: Path, small_encoder: Encoder
) -> None:
    start = reward_start(start_params("scratch"), policy, "joint", seed=0)
    assert start.encoder.template.vocabulary == small_encoder.template.vocabulary
    # The longest row of two responses: 10 + 2 · (8 + 1).
    assert start.model.config.max_position_embeddings == 28
    assert start.model.config.hidden_size == 16


def test_a_joint_row_beyond_the_positions_is_refused_before_training(
    policy: Path, tmp_path: Path
) -> None:
    folder = str(write_encoder("bert", tmp_path / "short", max_position_embeddings=20))
    params = start_params(folder)
    reward_start(params, policy, "pointwise", seed=0)  # 10 + 9
    with pytest.raises(ModelError, match=r"positions for 20 tokens, .* rows of 28: .*lower them"):
        reward_start(params, policy, "joint", seed=0)


def test_a_start_from_another_encoder_decoder_keeps_its_own_tokens(
    policy: Path, spelling: Any, tmp_path: Path
) -> None:
    other = Encoder(spelling, 10, 8)
    save_policy(tiny_policy(other, width=24), tmp_path / "t5", CANARIES, {})
    trained = _train(str(tmp_path / "t5"), policy, tmp_path / "scratch", planted_pairs(60, seed=1))
    assert trained.scorer.encoder.template == other.template
    assert trained.scorer.model.network.width == 24
    assert trained.facts["start"] == "t5"
    # Byte-level BPE needs more tokens for some responses than words, of which 8 are allowed.
    assert int(trained.facts["human_pairs"]) + int(trained.facts["human_dropped_too_long"]) == 60


def test_a_start_that_is_not_there_is_refused_by_its_key(policy: Path) -> None:
    with pytest.raises(ModelError, match=r"no such folder.*reward_start\.model"):
        reward_start(start_params("nowhere/none/bert"), policy, "pointwise", seed=0)


def test_a_tokenizer_of_another_model_is_refused(bert: str, policy: Path, tmp_path: Path) -> None:
    folder = write_encoder("roberta", tmp_path / "mixed")
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((Path(bert) / name).read_bytes())
    with pytest.raises(ModelError, match=r"embeddings for \d+ tokens, its tokenizer has "):
        reward_start(start_params(str(folder)), policy, "pointwise", seed=0)


@pytest.mark.parametrize("readout", ["mean", "last"])
def test_adapters_of_an_encoder_are_merged_into_it(
    readout: str, bert: str, policy: Path, tmp_path: Path
) -> None:
    lora = LoraParams(rank=2, alpha=4.0, dropout=0.0, targets="all-linear")
    trained = _train(bert, policy, tmp_path / "scratch", readout=readout, lora=lora)
    start = reward_start(start_params(bert), policy, "pointwise", 0, adapted=True).model
    before, after = start.state_dict(), trained.scorer.model.backbone.state_dict()
    assert after.keys() == before.keys()
    moved = {key for key in after if not torch.equal(after[key], before[key])}
    assert any("attention.self.query" in key for key in moved)
    assert not [key for key in moved if key.startswith("classifier") or "embeddings" in key]
    assert ("bert.pooler.dense.weight" in moved) == (readout == "last")


@pytest.mark.parametrize("readout", ["mean", "last"])
def test_a_start_keeps_the_policys_precision(
    readout: str, small_encoder: Encoder, bert: str, tmp_path: Path
) -> None:
    half = tiny_policy(small_encoder, seed=4)
    rounded(half.model, "bf16")
    save_policy(half, tmp_path / "policy", CANARIES, {})
    trained = _train(bert, tmp_path / "policy", tmp_path / "scratch", readout=readout)
    save_reward_model(trained.scorer, tmp_path / "rm", CANARIES, trained.facts)
    again = load_reward_model(tmp_path / "rm").model
    assert again.backbone.dtype == torch.bfloat16
    assert again.head.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("single", "pair"),
    [("$A </s>", "$A </s> $B </s>"), ("<s> $A", "<s> $A <s> $B")],
    ids=["t5", "llama"],
)
def test_a_start_from_scratch_separates_texts_whatever_the_tokenizer_adds(
    single: str, pair: str, spelling: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tokenizer = deepcopy(spelling)
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    names = [(name, tokenizer.convert_tokens_to_ids(name)) for name in ("<s>", "</s>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=single, pair=pair, special_tokens=names
    )
    policy = tmp_path / "policy"
    save_policy(tiny_policy(Encoder(tokenizer, 20, 12)), policy, CANARIES, {})
    trained = _train("scratch", policy, tmp_path / "scratch")
    save_reward_model(trained.scorer, tmp_path / "rm", CANARIES, trained.facts)
    encoder = load_reward_model(tmp_path / "rm").encoder
    end = tokenizer.eos_token_id
    ((x,), (y,)) = encoder.prompts(["the cat"]), encoder.responses(["good"])
    assert [place for place, index in enumerate(x + y) if index == end] == [
        0,
        len(x) - 1,
        len(x + y) - 1,
    ]
    assert encoder.template == trained.scorer.encoder.template


def test_a_fault_of_a_starts_chat_template_is_told_by_its_key(
    spelling: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    policy = _chatting_policy(spelling, "chatml", tmp_path / "policy")
    other = _chatting_policy(spelling, "gemma", tmp_path / "other")
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.chat_template = "{{ strftime_now('%d') }}" + tokenizer.chat_template
    tokenizer.save_pretrained(other)
    with pytest.raises(ModelError, match=r"today's date.* beside reward_start\.model"):
        reward_start(start_params(str(other)), policy, "pointwise", 0)


@pytest.mark.parametrize("kind", ["causal", "plain", "bert"])
def test_a_chat_template_is_the_starts_own_or_none(
    kind: str, bert: str, spelling: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    policy = _chatting_policy(spelling, "chatml", tmp_path / "policy")
    starts = {"causal": _chatting_policy(spelling, "gemma", tmp_path / "other"), "bert": bert}
    encoder = Encoder(spelling, 60, 20, "causal")  # without a template
    starts["plain"] = tmp_path / "plain"
    model = tiny_model("llama", encoder, max_position_embeddings=128)
    save_policy(Policy(model, encoder), tmp_path / "plain", CANARIES, {})
    encoder = reward_start(start_params(str(starts[kind])), policy, "pointwise", 0).encoder
    read = encoder.tokenizer.decode(encoder.prompts(["the cat"])[0])
    assert "<|im_start|>" not in read
    assert ("<start_of_turn>user" in read) == (kind == "causal")


def _chatting_policy(spelling: PreTrainedTokenizerFast, kind: str, folder: Path) -> Path:
    encoder = Encoder(chatting(spelling, kind), 60, 20, "causal", chat=True)
    model = tiny_model("llama", encoder, max_position_embeddings=128)
    save_policy(Policy(model, encoder), folder, CANARIES, {})
    return folder
