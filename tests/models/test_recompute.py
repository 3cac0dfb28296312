"""Gradient checkpointing: the same gradients, with blocks run twice instead of remembered."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from transformers.models.t5 import modeling_t5

from tests.small_models import PROMPTS, RESPONSES, tiny_backbone
from westofn.errors import ModelError
from westofn.models.encoder_decoder import SharedDecoder
from westofn.models.encoding import Encoder, Padded, pad
from westofn.models.policy import Policy, token_logprobs
from westofn.models.recompute import recomputes, recomputing, silence_dropout

LAYERS = 2


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the encoder's and the decoder's blocks ran."""
    counted: Counter[str] = Counter()
    attention, block = modeling_t5.T5LayerSelfAttention.forward, SharedDecoder._block

    def encoder(self: nn.Module, *inputs: object, **options: object) -> object:
        counted["encoder"] += 1
        return attention(self, *inputs, **options)

    def decoder(self: SharedDecoder, *inputs: object) -> Tensor:
        counted["decoder"] += 1
        return block(self, *inputs)  # type: ignore[arg-type]

    monkeypatch.setattr(modeling_t5.T5LayerSelfAttention, "forward", encoder)
    monkeypatch.setattr(SharedDecoder, "_block", decoder)
    return counted


def _gradients(encoder: Encoder, on: bool, dropout: float) -> dict[str, Tensor]:
    model = tiny_backbone(encoder, dropout=dropout).train()
    prompts = pad(encoder.prompts(PROMPTS), encoder.pad_id)
    rows = pad(encoder.responses(RESPONSES), encoder.pad_id)
    torch.manual_seed(5)
    with recomputing(model, on):
        logprobs = token_logprobs(
            Policy(model, encoder),
            prompts,
            Padded(rows.ids.unsqueeze(1), rows.mask.unsqueeze(1)),
        )
        logprobs.sum().backward()
    return {
        name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None
    }


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_are_the_same_and_every_block_runs_twice(
    dropout: float, small_encoder: Encoder, calls: Counter[str]
) -> None:
    remembered = _gradients(small_encoder, False, dropout)
    assert calls == {"encoder": LAYERS, "decoder": LAYERS}
    again = _gradients(small_encoder, True, dropout)
    assert calls == {"encoder": 3 * LAYERS, "decoder": 3 * LAYERS}
    assert remembered.keys() == again.keys()
    for name, gradient in remembered.items():
        torch.testing.assert_close(again[name], gradient, atol=1e-6, rtol=1e-6)
    assert float(max(gradient.abs().max() for gradient in remembered.values())) > 0.1


def test_nothing_is_recomputed_without_gradients_or_after_training(small_encoder: Encoder) -> None:
    model = tiny_backbone(small_encoder).train()
    assert not recomputes(model)
    with recomputing(model, True):
        assert recomputes(model)
        with torch.no_grad():
            assert not recomputes(model)
        model.eval()
        assert not recomputes(model)
        model.train()
    assert not recomputes(model)


def test_silent_dropout_makes_training_mode_like_evaluation(small_encoder: Encoder) -> None:
    model = tiny_backbone(small_encoder, dropout=0.5).train()
    prompts = pad(small_encoder.prompts(PROMPTS), small_encoder.pad_id)
    rows = pad(small_encoder.responses(RESPONSES), small_encoder.pad_id)
    responses = Padded(rows.ids.unsqueeze(1), rows.mask.unsqueeze(1))

    def says() -> Tensor:
        return token_logprobs(Policy(model, small_encoder), prompts, responses)

    assert not torch.equal(says(), says())
    silence_dropout(model)
    assert torch.equal(says(), says())
    loud = says()
    model.eval()
    torch.testing.assert_close(says(), loud)


def test_a_model_that_cannot_is_refused(
    small_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_backbone(small_encoder)
    monkeypatch.setattr(type(model), "supports_gradient_checkpointing", False)
    with (
        pytest.raises(ModelError, match=r"t5 model cannot use gradient checkpointing.*runtime"),
        recomputing(model, True),
    ):
        raise AssertionError
