"""Gradient checkpointing: the same gradients, with blocks run twice instead of remembered."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.t5 import modeling_t5

from tests.small_families import GENERATORS, tiny_model
from tests.small_models import PROMPTS, RESPONSES, tiny_backbone
from westofn.errors import ModelError
from westofn.models.policy import Policy, token_logprobs
from westofn.networks.encoder_decoder import SharedDecoder
from westofn.networks.recompute import recomputes, recomputing, silence_dropout
from westofn.text.encoding import Encoder, Padded, pad
from westofn.text.model_files import FAMILY_OF

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


def _gradients(model: PreTrainedModel, encoder: Encoder, on: bool) -> dict[str, Tensor]:
    """Of the log-likelihood of some responses, in training mode."""
    model.train()
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
    every = {name: weight.grad for name, weight in model.named_parameters()}
    return {name: gradient for name, gradient in every.items() if gradient is not None}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_are_the_same_and_every_block_runs_twice(
    dropout: float, small_encoder: Encoder, calls: Counter[str]
) -> None:
    def gradients(on: bool) -> dict[str, Tensor]:
        return _gradients(tiny_backbone(small_encoder, dropout=dropout), small_encoder, on)

    remembered = gradients(False)
    assert calls == {"encoder": LAYERS, "decoder": LAYERS}
    again = gradients(True)
    assert calls == {"encoder": 3 * LAYERS, "decoder": 3 * LAYERS}
    _assert_same(again, remembered)


@pytest.mark.parametrize("model_type", GENERATORS)
def test_gradients_of_every_family_are_the_same(model_type: str, small_encoder: Encoder) -> None:
    encoder = Encoder(small_encoder.tokenizer, 10, 8, FAMILY_OF[model_type])

    def gradients(on: bool) -> tuple[dict[str, Tensor], int]:
        model, ran = tiny_model(model_type, encoder), []
        blocks = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
        for part in blocks:  # norms run in every block, however it is walked
            next(
                m for m in part.modules() if "norm" in type(m).__name__.lower()
            ).register_forward_hook(lambda *_: ran.append(1))
        return _gradients(model, encoder, on), len(ran)

    (remembered, once), (again, twice) = gradients(False), gradients(True)
    _assert_same(again, remembered)
    assert twice == 2 * once


def _assert_same(again: dict[str, Tensor], remembered: dict[str, Tensor]) -> None:
    assert remembered.keys() == again.keys()
    for name, gradient in remembered.items():
        scale = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(again[name] / scale, gradient / scale, atol=2e-6, rtol=1e-5)
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
