"""Tiny models: planted ones whose reward is known, and untrained ones of every comparator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.small_models import tiny_backbone, tiny_policy, tiny_scorer
from westofn.evaluation.judges import GoldJudge
from westofn.models.policy import Policy
from westofn.models.reward import Scorer
from westofn.params.comparator import ComparatorName
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import train_tokenizer

from .planted import TEXTS, CountingGold, PlantedModel, worth

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    tokenizer = train_tokenizer([*TEXTS, *(f" {line}" for line in TEXTS)], "words", 64)
    return Encoder(tokenizer, max_prompt_tokens=8, max_response_tokens=24)


@pytest.fixture(scope="session")
def planted(encoder: Encoder) -> Callable[[float], Scorer]:
    def build(scale: float) -> Scorer:
        model = PlantedModel(tiny_backbone(encoder), "pointwise", 0)
        tokens = encoder.tokenizer.convert_ids_to_tokens(list(range(len(encoder.tokenizer))))
        model.worth_of_id = torch.tensor([scale * worth(token) for token in tokens])
        return Scorer(model.eval(), encoder)

    return build


@pytest.fixture(scope="session")
def untrained(encoder: Encoder) -> Callable[[ComparatorName], Scorer]:
    def build(comparator: ComparatorName) -> Scorer:
        return tiny_scorer(encoder, comparator, seed=4)

    return build


@pytest.fixture(scope="session")
def policy(encoder: Encoder) -> Policy:
    return tiny_policy(encoder, seed=3)


@pytest.fixture
def gold() -> GoldJudge:
    return GoldJudge(CountingGold())
