"""Selection may not depend on the batch: it does not in fp32, and in bf16 the rate is reported."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.bench_batch_flips import batch_flips
from tests.small_families import GENERATORS, tiny_model
from tests.small_models import PROMPTS, VOCABULARY
from westofn.core.comparators import COMPARATORS
from westofn.errors import ModelError
from westofn.models.reward import RewardModel, Scorer
from westofn.text.encoding import Encoder
from westofn.text.model_files import FAMILY_OF

N = 16


def _pools() -> list[list[str]]:
    chance = random.Random(0)
    return [
        [" ".join(chance.choices(VOCABULARY, k=chance.randint(1, 6))) for _ in range(N)]
        for _ in PROMPTS
    ]


def _scorer(model_type: str, tokens: Encoder) -> Scorer:
    encoder = Encoder(tokens.tokenizer, 10, 8, FAMILY_OF[model_type])
    torch.manual_seed(0)
    model = RewardModel(tiny_model(model_type, encoder), "embedding", 2)
    torch.nn.init.normal_(model.head.weight, std=0.7)
    return Scorer(model.eval(), encoder)


@pytest.mark.parametrize("model_type", GENERATORS)
def test_no_pair_flips_in_fp32(model_type: str, small_encoder: Encoder) -> None:
    found = batch_flips(_scorer(model_type, small_encoder), PROMPTS, _pools())
    assert found.pairs == 0.0
    assert found.largest < 1e-4 * max(1.0, found.spread)
    assert found.spread > 0.1


def test_the_rate_of_bf16_is_measured_on_margins_that_stay_near(small_encoder: Encoder) -> None:
    scorer = _scorer("t5", small_encoder)
    exact = batch_flips(scorer, PROMPTS, _pools())
    scorer.model.finish("bf16")
    found = batch_flips(scorer, PROMPTS, _pools())
    # Rounding to 8 bits moves a margin by hundredths, or hides what fp32 would add up otherwise.
    assert found.pairs <= 0.5
    assert found.largest < 0.2 * found.spread
    assert found.spread == pytest.approx(exact.spread, rel=0.1)


class _Alone(RewardModel):
    """Turns every score round when there is but one response to score."""

    def features(self, *inputs: object) -> Tensor:
        found = super().features(*inputs)  # type: ignore[arg-type]
        return -found if found.shape[:2] == (1, 1) else found


def test_pairs_that_depend_on_the_batch_are_found(small_encoder: Encoder) -> None:
    scorer = _scorer("t5", small_encoder)
    scorer.model.__class__ = _Alone
    scorer.model.comparator = COMPARATORS["pointwise"]
    scorer.model.head = torch.nn.Linear(16, 1, bias=False)
    assert batch_flips(scorer, PROMPTS, _pools()).pairs == 1.0


def test_a_model_that_scores_pairs_is_refused(small_encoder: Encoder) -> None:
    scorer = _scorer("t5", small_encoder)
    scorer.model.comparator = COMPARATORS["joint"]
    with pytest.raises(ModelError, match="scores pairs"):
        batch_flips(replace(scorer), PROMPTS, _pools())
