"""LoRA: adapters start as nothing, learn alone, and end as part of the weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.small_families import GENERATORS, tiny_model
from tests.small_models import PROMPTS, RESPONSES, tiny_backbone, tiny_policy
from westofn.errors import ParameterError
from westofn.models.policy import Policy, log_likelihood
from westofn.networks.adapters import (
    adapted_copy,
    add_adapters,
    copy_sharing_frozen,
    learned_weights,
    merge_adapters,
)
from westofn.params.lora import AdapterParams
from westofn.text.encoding import Encoder
from westofn.text.model_files import FAMILY_OF

RANK, ALPHA = 2, 6.0
SCALE = ALPHA / RANK
LORA = AdapterParams(rank=RANK, alpha=ALPHA, targets="all-linear")


def _adapted(model: PreTrainedModel, seed: int = 0, targets: str = "all-linear") -> PreTrainedModel:
    torch.manual_seed(seed)
    add_adapters(model, LORA.model_copy(update={"targets": targets}), "sft: lora")
    return model


def _learn(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Adapters as a training might leave them."""
    torch.manual_seed(seed)
    for weight in learned_weights(model).values():
        nn.init.normal_(weight, std=0.2)
    return {name: weight.detach().clone() for name, weight in learned_weights(model).items()}


def _says(model: PreTrainedModel, encoder: Encoder) -> Tensor:
    return log_likelihood(Policy(model, encoder), PROMPTS, RESPONSES).logprob


def test_new_adapters_change_no_answer_and_are_all_that_learns(small_encoder: Encoder) -> None:
    model = tiny_backbone(small_encoder)
    before, weights = _says(model, small_encoder), sum(w.numel() for w in model.parameters())
    _adapted(model)
    assert torch.equal(_says(model, small_encoder), before)
    learned = learned_weights(model)
    assert learned
    assert all("lora_" in name for name in learned)
    assert not any("lm_head" in name or "shared" in name for name in learned)
    # Encoder layer: 4 of 16 × 16, 3 of 16 × 32; decoder layer: 4 of 16 × 16 more.
    per_layer = 2 * (4 * 32 + 3 * 48) + 4 * 32
    assert sum(w.numel() for w in learned.values()) == RANK * 2 * per_layer < weights


@pytest.mark.parametrize("model_type", GENERATORS)
def test_merged_adapters_answer_as_they_did_beside_the_weights(
    model_type: str, small_encoder: Encoder
) -> None:
    model = tiny_model(model_type, small_encoder)
    encoder = Encoder(small_encoder.tokenizer, 10, 8, FAMILY_OF[model_type])
    names, before = list(model.state_dict()), _says(model, encoder)
    _adapted(model)
    assert torch.equal(_says(model, encoder), before)
    _learn(model, seed=1)
    adapted = _says(model, encoder)
    merge_adapters(model)
    assert list(model.state_dict()) == names
    assert not hasattr(model, "peft_config")
    torch.testing.assert_close(_says(model, encoder), adapted, atol=1e-4, rtol=1e-5)
    assert float((adapted - before).abs().max()) > 1e-2


def test_several_runs_are_averaged_as_products(small_encoder: Encoder) -> None:
    model = tiny_backbone(small_encoder)
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    _adapted(model, targets="q")
    runs = [_learn(model, seed) for seed in (1, 2, 3)]
    merge_adapters(model, runs)
    looked_at = 0
    for name, weight in model.state_dict().items():
        stem = name.removesuffix(".weight")
        products = [
            run[f"{stem}.lora_B.default.weight"] @ run[f"{stem}.lora_A.default.weight"]
            for run in runs
            if name.endswith(".q.weight")
        ]
        mean = SCALE * torch.stack(products).mean(0) if products else 0.0
        torch.testing.assert_close(weight, start[name] + mean)
        looked_at += bool(products)
    assert looked_at == 2 + 2 * 2  # encoder; decoder: self- and cross-attention


def test_adapters_of_a_bf16_model_are_fp32_and_merging_rounds_once(small_encoder: Encoder) -> None:
    model = tiny_backbone(small_encoder).to(torch.bfloat16)
    _adapted(model)
    runs = [_learn(model, seed) for seed in (1, 2)]
    assert {weight.dtype for weight in learned_weights(model).values()} == {torch.float32}
    layer = model.encoder.block[0].layer[1].DenseReluDense.wi_0
    base = layer.base_layer.weight.float()
    stem = "encoder.block.0.layer.1.DenseReluDense.wi_0"
    products = [
        run[f"{stem}.lora_B.default.weight"] @ run[f"{stem}.lora_A.default.weight"] for run in runs
    ]
    merge_adapters(model, runs)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    merged = model.encoder.block[0].layer[1].DenseReluDense.wi_0.weight
    exact = base + SCALE * torch.stack(products).mean(0)
    torch.testing.assert_close(merged.float(), exact, rtol=2**-8, atol=1e-6)


def test_targets_by_name(small_encoder: Encoder) -> None:
    model = _adapted(tiny_backbone(small_encoder), targets="q, v")
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in learned_weights(model)} == {
        "q",
        "v",
    }


@pytest.mark.parametrize("targets", ["q,w", "lm_head", "shared", "q,"])
def test_a_target_that_is_no_linear_layer_is_refused_with_those_there_are(
    targets: str, small_encoder: Encoder
) -> None:
    wrong = targets.rpartition(",")[2]
    with pytest.raises(ParameterError) as caught:
        _adapted(tiny_backbone(small_encoder), targets=targets)
    assert str(caught.value) == (
        f"sft: lora.targets contains {wrong!r}, which is not a linear layer of a t5 model; it has "
        "k, o, q, v, wi_0, wi_1, wo; give some of these, or all-linear"
    )


def test_a_model_and_its_adapted_copy_share_memory_and_nothing_else(
    small_encoder: Encoder,
) -> None:
    policy = tiny_policy(small_encoder)
    before = copy.deepcopy(policy.model.state_dict())
    torch.manual_seed(0)
    adapted = adapted_copy(policy.model, LORA, "rlhf: lora")
    assert adapted.shared.weight.data_ptr() == policy.model.shared.weight.data_ptr()
    assert all(weight.requires_grad for weight in policy.model.parameters())
    _learn(adapted, seed=1)
    merge_adapters(adapted)
    assert all(torch.equal(before[k], w) for k, w in policy.model.state_dict().items())
    assert not torch.equal(_says(adapted, small_encoder), _says(policy.model, small_encoder))


def test_copies_share_what_is_frozen(small_encoder: Encoder) -> None:
    model = _adapted(tiny_backbone(small_encoder))
    twin = copy_sharing_frozen(model)
    both = list(zip(model.parameters(), twin.parameters(), strict=True))
    assert all((mine is its) is not mine.requires_grad for mine, its in both)
    assert {mine is its for mine, its in both} == {True, False}
