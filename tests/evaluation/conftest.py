"""Tiny models: planted ones whose reward is known, and untrained ones of every comparator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import T5ForConditionalGeneration

from westofn.evaluation.judges import GoldJudge
from westofn.models.encoder_decoder import build_scratch
from westofn.models.encoding import Encoder
from westofn.models.policy import Policy
from westofn.models.reward import RewardModel, Scorer
from westofn.models.tokenizer import train_tokenizer
from westofn.params import Comparator

from .planted import TEXTS, CountingGold, PlantedModel, worth

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    tokenizer = train_tokenizer([*TEXTS, *(f" {line}" for line in TEXTS)], "words", 64)
    return Encoder(tokenizer, max_prompt_tokens=8, max_response_tokens=24)


@pytest.fixture(scope="session")
def backbone(encoder: Encoder) -> Callable[[], T5ForConditionalGeneration]:
    def build() -> T5ForConditionalGeneration:
        torch.manual_seed(3)
        return build_scratch(
            vocabulary=len(encoder.tokenizer),
            width=16,
            layers=1,
            heads=2,
            feed_forward=16,
            dropout=0.0,
            pad_id=encoder.pad_id,
            eos_id=encoder.eos_id,
        )

    return build


@pytest.fixture(scope="session")
def planted(
    encoder: Encoder, backbone: Callable[[], T5ForConditionalGeneration]
) -> Callable[[float], Scorer]:
    def build(scale: float) -> Scorer:
        model = PlantedModel(backbone(), "pointwise", 0)
        tokens = encoder.tokenizer.convert_ids_to_tokens(list(range(len(encoder.tokenizer))))
        model.worth_of_id = torch.tensor([scale * worth(token) for token in tokens])
        return Scorer(model.eval(), encoder)

    return build


@pytest.fixture(scope="session")
def untrained(
    encoder: Encoder, backbone: Callable[[], T5ForConditionalGeneration]
) -> Callable[[Comparator], Scorer]:
    def build(comparator: Comparator) -> Scorer:
        model = RewardModel(backbone(), comparator, planes=2)
        with torch.no_grad():
            model.head.weight.mul_(3.0)
        return Scorer(model.eval(), encoder)

    return build


@pytest.fixture(scope="session")
def policy(encoder: Encoder, backbone: Callable[[], T5ForConditionalGeneration]) -> Policy:
    return Policy(backbone(), encoder)


@pytest.fixture
def gold() -> GoldJudge:
    return GoldJudge(CountingGold())
