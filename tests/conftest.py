"""Fixtures that more than one part of the suite reads: tokenizers, and models without training."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.small_models import COMPARATORS, PROMPTS, RESPONSES, texts, tiny_policy, tiny_scorer
from westofn.models.card import member_folder, write_ensemble
from westofn.models.policy import Policy
from westofn.models.reward import Scorer
from westofn.models.saved_reward import save_reward_model
from westofn.params.comparator import ComparatorName
from westofn.text import encoding
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import plain_ids, train_tokenizer

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for processes that tests start


def pytest_collection_finish() -> None:
    """Trainers collect garbage after every run: they need not walk over all that is imported."""
    gc.freeze()


@pytest.fixture(scope="session")
def words() -> PreTrainedTokenizerFast:
    """One token a word; 2 · 16 words, of which "the" … come with and without a space, and 3."""
    return train_tokenizer(texts(), "words", 64)


@pytest.fixture(scope="session")
def spelling() -> PreTrainedTokenizerFast:
    """Byte-level BPE."""
    return train_tokenizer(texts(), "bytes", 300)


@pytest.fixture
def tokenised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that encoders have tokenised since the test began, one entry each time."""
    told: list[str] = []

    def spy(tokenizer: PreTrainedTokenizerFast, some: Sequence[str]) -> list[list[int]]:
        told.extend(some)
        return plain_ids(tokenizer, some)

    monkeypatch.setattr(encoding, "plain_ids", spy)
    return told


@pytest.fixture(scope="session")
def small_encoder(words: PreTrainedTokenizerFast) -> Encoder:
    return Encoder(words, max_prompt_tokens=10, max_response_tokens=8)


@pytest.fixture(scope="session")
def small_policy(small_encoder: Encoder) -> Policy:
    return tiny_policy(small_encoder)


@pytest.fixture(scope="session")
def scorers(small_encoder: Encoder) -> Callable[[ComparatorName], Scorer]:
    made: dict[ComparatorName, Scorer] = {}

    def build(comparator: ComparatorName) -> Scorer:
        if comparator not in made:
            made[comparator] = tiny_scorer(small_encoder, comparator, seed=3)
        return made[comparator]

    return build


@pytest.fixture(scope="session")
def saved_models(
    scorers: Callable[[ComparatorName], Scorer],
    small_encoder: Encoder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder of a model of each comparator, and `ensemble`, the pointwise one and another."""
    root = tmp_path_factory.mktemp("models")
    canaries = list(zip(PROMPTS[:2], RESPONSES[:2], strict=True))
    training: dict[str, float | int | str] = {"human_pairs": 30, "synthetic_pairs": 28}
    for comparator in COMPARATORS:
        save_reward_model(scorers(comparator), root / comparator, canaries, training)
    members = [scorers("pointwise"), tiny_scorer(small_encoder, "pointwise", seed=4)]
    for index, member in enumerate(members):
        save_reward_model(member, member_folder(root / "ensemble", index), canaries, training)
    write_ensemble(root / "ensemble", len(members))
    return root
