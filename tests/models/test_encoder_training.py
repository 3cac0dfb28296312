"""Adapters, bf16 and recomputed activations of encoder-only reward models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.small_models import PROMPTS, READOUTS, RESPONSES
from tests.tiny_encoders import ENCODERS, write_encoder
from westofn.models.reward import RewardModel, Scorer
from westofn.models.scoring import score_rows
from westofn.networks.adapters import add_adapters, learned_weights, merge_adapters
from westofn.networks.encoder_only import LAST_LINEAR
from westofn.networks.pretrained import load_pretrained
from westofn.networks.recompute import recomputing
from westofn.params.lora import AdapterParams
from westofn.params.network import Readout
from westofn.text.encoding import Padded, pad

LORA = AdapterParams(rank=2, alpha=4.0, targets="all-linear")
Make = Callable[[str, Readout], Scorer]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A new reward model from a folder that is written once."""
    folders: dict[str, Path] = {}

    def build(kind: str, readout: Readout) -> Scorer:
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp(kind) / kind
            write_encoder(kind, folders[kind])
        torch.manual_seed(0)
        model, encoder = load_pretrained(
            str(folders[kind]), "reward_start.model", max_prompt_tokens=16, max_response_tokens=12
        )
        reward = RewardModel(model, "embedding", 2, readout)
        torch.nn.init.normal_(reward.head.weight, std=0.7)
        return Scorer(reward.eval(), encoder)

    return build


def _says(scorer: Scorer) -> Tensor:
    return score_rows(scorer, PROMPTS, RESPONSES)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("kind", ENCODERS)
def test_adapters_learn_beside_whole_layers_that_pretraining_lacks(
    kind: str, readout: Readout, make: Make
) -> None:
    scorer = make(kind, readout)
    model, before = scorer.model, _says(scorer)
    unread = f"{LAST_LINEAR[kind]}."
    fresh = {name for name in model.network.fresh if not name.startswith(unread)}
    names = list(model.state_dict())
    torch.manual_seed(1)
    add_adapters(model.backbone, LORA, "student_rm: lora", model.network.fresh)
    assert torch.equal(_says(scorer), before)
    learned = learned_weights(model.backbone)
    assert {name for name in learned if "lora_" not in name} == (
        fresh if readout == "last" else set()
    )
    assert any("lora_" in name for name in learned)
    for weight in learned.values():
        torch.nn.init.normal_(weight, std=0.2)
    adapted = _says(scorer)
    merge_adapters(model)
    assert list(model.state_dict()) == names
    torch.testing.assert_close(_says(scorer), adapted, atol=1e-4, rtol=1e-4)
    assert float((adapted - before).abs().max()) > 1e-2


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("kind", ENCODERS)
def test_bf16_is_near_fp32(kind: str, readout: Readout, make: Make) -> None:
    scorer = make(kind, readout)
    exact = _says(scorer)
    scorer.model.mixed = True
    mixed = _says(scorer)
    scorer.model.finish("bf16")
    coarse = _says(scorer)
    for other in (mixed, coarse):
        assert other.dtype == torch.float32
        assert not torch.equal(other, exact)
        assert float((other - exact).abs().max()) < 0.05 * float(exact.abs().max())


@pytest.mark.parametrize("kind", ENCODERS)
def test_recomputed_activations_give_the_same_gradients(kind: str, make: Make) -> None:
    def gradients(on: bool) -> dict[str, Tensor]:
        scorer = make(kind, "last")
        model, encoder = scorer.model.train(), scorer.encoder
        prompts = pad(encoder.prompts(PROMPTS), encoder.pad_id)
        rows = pad(encoder.responses(RESPONSES), encoder.pad_id)
        torch.manual_seed(3)
        with recomputing(model.backbone, on):
            states = model.prompt_states(prompts)
            responses = Padded(rows.ids.unsqueeze(1), rows.mask.unsqueeze(1))
            model.features(states, responses).sum().backward()
        every = {name: weight.grad for name, weight in model.named_parameters()}
        return {name: gradient for name, gradient in every.items() if gradient is not None}

    remembered, again = gradients(False), gradients(True)
    assert remembered.keys() == again.keys()
    assert len(remembered) > 10
    for name, gradient in remembered.items():
        torch.testing.assert_close(again[name], gradient, atol=1e-5, rtol=1e-4)
