"""log P(continuation | context) of any family, in batches of unlike rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.judging.test_llm import FAMILIES, tiny
from tests.tiny_encoders import ENCODERS, write_encoder
from westofn.errors import ModelError
from westofn.networks.continuations import (
    LanguageModel,
    continuation_logprobs,
    load_language_model,
)

ROWS = [([5, 9, 4], [7]), ([8], [3, 6, 11]), ([5, 9, 4], [12]), ([4] * 9, [5, 5]), ([8], [3, 6, 2])]


@torch.no_grad()
def one_by_one(model: Any, context: list[int], ids: list[int]) -> float:
    """Without padding and neighbours; the start token of the tiny T5 is 0."""
    if model.config.is_encoder_decoder:
        given = {"decoder_input_ids": torch.tensor([[0, *ids[:-1]]])}
        logits = model(input_ids=torch.tensor([context]), **given).logits[0]
    else:
        logits = model(input_ids=torch.tensor([[*context, *ids[:-1]]])).logits[0]
    logprobs = logits[-len(ids) :].log_softmax(-1)
    return float(sum(logprobs[place, token] for place, token in enumerate(ids)))


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_unlike_lengths_are_as_if_alone(
    family: str, spelling: PreTrainedTokenizerFast
) -> None:
    model = LanguageModel(tiny(family, len(spelling)), spelling)
    batched = continuation_logprobs(model, *map(list, zip(*ROWS, strict=True)))
    expected = torch.tensor([one_by_one(model.model, *row) for row in ROWS])
    torch.testing.assert_close(batched, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_probabilities_of_all_tokens_add_up_to_one(
    family: str, spelling: PreTrainedTokenizerFast
) -> None:
    model = LanguageModel(tiny(family, len(spelling)), spelling)
    every = [[token] for token in range(len(spelling))]
    logprobs = continuation_logprobs(model, [[5, 9, 4]] * len(every), every)
    assert float(logprobs.exp().sum()) == pytest.approx(1.0, abs=1e-5)


def test_a_row_without_tokens_is_refused(spelling: PreTrainedTokenizerFast) -> None:
    model = LanguageModel(tiny("llama", len(spelling)), spelling)
    assert continuation_logprobs(model, [], []).shape == (0,)
    for row in ([], [5]), ([5], []):
        with pytest.raises(ValueError, match="has no tokens"):
            continuation_logprobs(model, [row[0]], [row[1]])


def test_the_longest_input_is_the_model_s(spelling: PreTrainedTokenizerFast) -> None:
    limits = [LanguageModel(tiny(family, 300), spelling).max_tokens for family in FAMILIES]
    assert limits == [256, 256, 256, None]


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_cannot_answer(kind: str, tmp_path: Path) -> None:
    write_encoder(kind, tmp_path / kind)
    with pytest.raises(ModelError, match=rf"is a {kind}, which is encoder-only .* judge\.key"):
        load_language_model(str(tmp_path / kind), "cpu", "judge.key")
