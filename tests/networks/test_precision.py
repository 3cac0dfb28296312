"""bf16: near fp32, exact where it must be, and said by the card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from tests.resealed import reseal
from tests.small_families import GENERATORS, tiny_model
from tests.small_models import (
    COMPARATORS,
    PROMPTS,
    READOUTS,
    RESPONSES,
    tiny_policy,
    tiny_scorer,
)
from tests.tiny_encoders import ENCODERS, start_of
from westofn.errors import ModelError
from westofn.generation.hf import sample
from westofn.models.policy import Policy, load_policy, log_likelihood, save_policy
from westofn.models.reward import RewardModel, Scorer
from westofn.models.saved_reward import load_reward_model, save_reward_model
from westofn.models.scoring import pair_margins, score_rows
from westofn.networks.precision import precision_of, rounded
from westofn.params.comparator import ComparatorName
from westofn.params.network import Readout
from westofn.text.encoding import Encoder
from westofn.text.model_files import FAMILY_OF

CANARIES = list(zip(PROMPTS, RESPONSES, strict=True))
# bf16 keeps 8 bits: a rounding is off by 2^-9 at most, and a few dozen add up.
NEAR = 0.05


def _bf16(policy: Policy) -> Policy:
    return Policy(rounded(policy.model, "bf16"), policy.encoder)


@pytest.mark.parametrize("model_type", GENERATORS)
def test_log_likelihoods_are_near_those_of_fp32(model_type: str, small_encoder: Encoder) -> None:
    encoder = Encoder(small_encoder.tokenizer, 10, 8, FAMILY_OF[model_type])

    def says(policy: Policy) -> Tensor:
        return log_likelihood(policy, PROMPTS, RESPONSES).logprob

    exact = says(Policy(tiny_model(model_type, encoder), encoder))
    coarse = says(_bf16(Policy(tiny_model(model_type, encoder), encoder)))
    mixed = says(Policy(tiny_model(model_type, encoder), encoder, mixed=True))
    for other in (coarse, mixed):
        assert other.dtype == torch.float32
        assert not torch.equal(other, exact)
        assert float(((other - exact) / exact).abs().max()) < NEAR


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("comparator", COMPARATORS)
def test_outputs_are_near_those_of_fp32_and_heads_are_fp32(
    comparator: ComparatorName, readout: Readout, small_encoder: Encoder
) -> None:
    scorer = tiny_scorer(small_encoder, comparator, readout=readout)
    exact = score_rows(scorer, PROMPTS, RESPONSES)
    scorer.model.finish("bf16")
    coarse = score_rows(scorer, PROMPTS, RESPONSES)
    assert scorer.model.head.weight.dtype == coarse.dtype == torch.float32
    assert not torch.equal(coarse, exact)
    assert float((coarse - exact).abs().max()) < NEAR * float(exact.abs().max())
    other = RESPONSES[1:] + RESPONSES[:1]
    margins = pair_margins(scorer, PROMPTS, RESPONSES, other)
    swapped = pair_margins(scorer, PROMPTS, other, RESPONSES)
    # Sums are fp32, so what is skew-symmetric stays it.
    torch.testing.assert_close(swapped, -margins, rtol=0, atol=1e-5)


@pytest.mark.parametrize("model_type", GENERATORS)
def test_first_tokens_are_drawn_as_in_fp32_mostly(model_type: str, small_encoder: Encoder) -> None:
    encoder = Encoder(small_encoder.tokenizer, 10, 8, FAMILY_OF[model_type])

    def drawn(policy: Policy) -> Tensor:
        ids = [f"p{i}" for i in range(len(PROMPTS))]
        return sample(policy, PROMPTS, ids, indices=range(16), temperature=1.0, seed=0).ids[..., 0]

    exact = drawn(Policy(tiny_model(model_type, encoder), encoder))
    mixed = Policy(tiny_model(model_type, encoder), encoder, mixed=True)
    coarse = _bf16(Policy(tiny_model(model_type, encoder), encoder))
    for policy in (mixed, coarse):
        assert float((drawn(policy) == exact).float().mean()) > 0.8
    assert len(exact.unique()) > 5


def test_a_saved_policy_keeps_its_precision(small_encoder: Encoder, tmp_path: Path) -> None:
    policy = _bf16(tiny_policy(small_encoder))
    save_policy(policy, tmp_path / "policy", CANARIES, {})
    with safe_open(tmp_path / "policy" / "model.safetensors", "pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.bfloat16}  # noqa: SIM118
    loaded = load_policy(tmp_path / "policy")
    assert precision_of(loaded.model) == "bf16"
    before, after = (log_likelihood(one, PROMPTS, RESPONSES).logprob for one in (policy, loaded))
    assert torch.equal(before, after)


def test_a_saved_reward_model_keeps_its_precision(small_encoder: Encoder, tmp_path: Path) -> None:
    scorer = tiny_scorer(small_encoder, "embedding")
    save_reward_model(scorer, tmp_path / "fp32", CANARIES, {})
    scorer.model.finish("bf16")
    save_reward_model(scorer, tmp_path / "bf16", CANARIES, {})
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("fp32", "bf16")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = load_reward_model(tmp_path / "bf16")
    assert loaded.model.head.weight.dtype == torch.float32
    before, after = (score_rows(one, PROMPTS, RESPONSES) for one in (scorer, loaded))
    assert torch.equal(before, after)
    assert precision_of(load_reward_model(tmp_path / "fp32").model.backbone) == "fp32"


@pytest.mark.parametrize("model_type", GENERATORS)
def test_a_bf16_policy_in_memory_is_the_one_on_disk(
    model_type: str, small_encoder: Encoder, tmp_path: Path
) -> None:
    # Rounded frequencies of rotary positions would show behind the first few tokens.
    encoder = Encoder(small_encoder.tokenizer, 40, 20, FAMILY_OF[model_type])
    policy = _bf16(Policy(tiny_model(model_type, encoder), encoder))
    save_policy(policy, tmp_path / "policy", CANARIES, {})
    loaded = load_policy(tmp_path / "policy")
    prompts = [" ".join([prompt] * 8) for prompt in PROMPTS]
    before, after = (log_likelihood(one, prompts, RESPONSES).logprob for one in (policy, loaded))
    assert torch.equal(before, after)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_bf16_encoder_in_memory_is_the_one_on_disk(kind: str, tmp_path: Path) -> None:
    model, encoder = start_of(kind, tmp_path / kind)
    reward = RewardModel(model, "pointwise", 0, "mean").eval()
    torch.nn.init.normal_(reward.head.weight)
    reward.finish("bf16")
    scorer = Scorer(reward, encoder)
    save_reward_model(scorer, tmp_path / "rm", CANARIES, {})
    loaded = load_reward_model(tmp_path / "rm")
    prompts = [" ".join([prompt] * 8) for prompt in PROMPTS]
    before, after = (score_rows(one, prompts, RESPONSES) for one in (scorer, loaded))
    assert torch.equal(before, after)


def test_a_card_with_another_precision_is_refused(small_encoder: Encoder, tmp_path: Path) -> None:
    save_policy(tiny_policy(small_encoder), tmp_path / "policy", CANARIES, {})
    path = tmp_path / "policy" / "card.json"
    card = json.loads(path.read_text()) | {"precision": "fp8"}
    path.write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"precision is 'fp8', needs 'fp32' or 'bf16'\); rerun"):
        load_policy(tmp_path / "policy")


def test_weights_of_another_model_are_found_in_bf16_too(
    small_encoder: Encoder, tmp_path: Path
) -> None:
    for seed in (0, 1):
        save_policy(_bf16(tiny_policy(small_encoder, seed)), tmp_path / str(seed), CANARIES, {})
    (tmp_path / "0" / "model.safetensors").replace(tmp_path / "1" / "model.safetensors")
    reseal(tmp_path / "1")
    with pytest.raises(ModelError, match="canary"):
        load_policy(tmp_path / "1")
