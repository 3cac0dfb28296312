"""Training in bf16: fp32 weights that compute in bf16, and a bf16 model at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.small_models import (
    COMPARATORS,
    NO_LORA,
    PROMPTS,
    RESPONSES,
    VOCABULARY,
    reward_params,
    rlhf_params,
    sft_params,
    start_params,
    tiny_policy,
)
from tests.training.planted import planted_pairs
from westofn.models.policy import Policy, load_policy, log_likelihood, save_policy
from westofn.models.saved_reward import load_reward_model, save_reward_model
from westofn.models.scoring import pair_margins
from westofn.networks.precision import precision_of, rounded
from westofn.params.comparator import ComparatorName
from westofn.params.lora import AdapterParams, LoraParams
from westofn.runtime import Runtime
from westofn.text.encoding import Encoder
from westofn.training import preference
from westofn.training.loop import History, Job
from westofn.training.pairs import TrainingPairs
from westofn.training.preference import train_reward_model
from westofn.training.recipe import Head, Recipe
from westofn.training.rl import Prompts, train_rl
from westofn.training.sft import Examples, train_sft
from westofn.training.trained import TrainedReward

CPU = Runtime(device="cpu")
CANARIES = list(zip(PROMPTS, RESPONSES, strict=True))
LORA = LoraParams(rank=4, alpha=8.0, targets="all-linear", dropout=0.0)
FRESH = planted_pairs(200, seed=3)


def _policy(encoder: Encoder, folder: Path, precision: str) -> Path:
    policy = tiny_policy(encoder, seed=4)
    model = rounded(policy.model, "bf16")  # so that both start from the same weights
    if precision == "fp32":
        model = rounded(model, "fp32")
    save_policy(Policy(model, encoder), folder, CANARIES, {})
    return folder


@pytest.fixture(scope="module")
def policies(small_encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("policies")
    return {name: _policy(small_encoder, folder / name, name) for name in ("fp32", "bf16")}


def _train(
    policy: Path, scratch: Path, comparator: ComparatorName, **changes: Any
) -> TrainedReward:
    learn = {"steps": 40, "batch_size": 32, "learning_rate": 8e-3, "average_decay": 0.5}
    return train_reward_model(
        "student_rm",
        TrainingPairs(planted_pairs(300, seed=1), None, planted_pairs(100, seed=2)),
        Recipe(policy, start_params(), reward_params(**(learn | changes)), 0, Head(comparator, 2)),
        scratch,
        CPU,
    )


def _margins(trained: TrainedReward) -> Tensor:
    return pair_margins(trained.scorer, FRESH.prompts, FRESH.chosen, FRESH.rejected)


@pytest.mark.parametrize("lora", [NO_LORA, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("comparator", COMPARATORS)
def test_a_planted_preference_is_learned_and_kept(
    comparator: ComparatorName, lora: LoraParams, policies: dict[str, Path], tmp_path: Path
) -> None:
    rate = 2e-2 if lora.rank else 8e-3
    trained = _train(
        policies["bf16"], tmp_path / "scratch", comparator, lora=lora, learning_rate=rate
    )
    margins = _margins(trained)
    assert float((margins > 0).float().mean()) > 0.95
    assert precision_of(trained.scorer.model.backbone) == "bf16"
    save_reward_model(trained.scorer, tmp_path / "rm", CANARIES, trained.facts)
    loaded = load_reward_model(tmp_path / "rm")
    again = pair_margins(loaded, FRESH.prompts, FRESH.chosen, FRESH.rejected)
    torch.testing.assert_close(again, margins)


def test_margins_differ_little_from_those_of_fp32(
    policies: dict[str, Path], tmp_path: Path
) -> None:
    changes = {"steps": 12, "runs": 2, "learning_rate": 2e-3}
    exact, coarse = (
        _margins(_train(policies[name], tmp_path / name, "pointwise", **changes))
        for name in ("fp32", "bf16")
    )
    assert not torch.equal(exact, coarse)
    assert float((exact - coarse).std()) < 0.1 * float(exact.std())


@pytest.mark.parametrize("lora", [NO_LORA, LORA], ids=["full", "lora"])
def test_what_learns_is_fp32_while_it_learns(
    lora: LoraParams, policies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[bool, set[torch.dtype]] = {}
    products: set[torch.dtype] = set()
    original = preference.run

    def spied(job: Job, runtime: Runtime) -> History:
        assert isinstance(job.module, preference._PreferenceLoss)
        for weight in job.module.model.parameters():
            seen.setdefault(weight.requires_grad, set()).add(weight.dtype)
        layer = job.module.model.backbone.decoder.block[0].layer[0].SelfAttention.q
        layer.register_forward_hook(lambda _, __, output: products.add(output.dtype))
        return original(job, runtime)

    monkeypatch.setattr(preference, "run", spied)
    _train(policies["bf16"], tmp_path, "pointwise", steps=2, lora=lora, average_decay=0.0)
    frozen = {False: {torch.bfloat16}} if lora.rank else {}
    assert seen == {True: {torch.float32}} | frozen
    assert products == {torch.bfloat16}


def test_sft_from_scratch_ends_in_bf16_with_the_loss_it_states(tmp_path: Path) -> None:
    words = [VOCABULARY[row % 16] for row in range(40)]
    rows = Examples([f"the {word}" for word in words], words)
    result = train_sft(
        rows,
        rows,
        sft_params(precision="bf16", steps=60, batch_size=16),
        seed=0,
        scratch=tmp_path / "scratch",
        runtime=CPU,
    )
    assert precision_of(result.policy.model) == "bf16"
    loss = float(result.facts["validation_loss_per_token"])
    assert loss < 1.0  # guessing one of 33 tokens costs 3.5 nats
    save_policy(result.policy, tmp_path / "policy", CANARIES, result.facts)
    loaded = load_policy(tmp_path / "policy")
    found = log_likelihood(loaded, rows.prompts, rows.responses)
    assert -float(found.logprob.sum() / found.n_tokens.sum()) == pytest.approx(loss, abs=1e-3)


RL = rlhf_params(steps=8, batch_size=32, samples_per_prompt=4, evaluations=2)


@pytest.mark.parametrize(("rank", "rate"), [(0, 1e-2), (4, 3e-2)])
def test_rl_raises_the_reward_from_zero_divergence(
    rank: int, rate: float, policies: dict[str, Path], tmp_path: Path
) -> None:
    trained = _train(policies["bf16"], tmp_path / "rm", "pointwise")
    start = load_policy(policies["bf16"])
    before = {name: weight.clone() for name, weight in start.model.state_dict().items()}
    result = train_rl(
        start,
        trained.scorer,
        Prompts([f"p{i}" for i in range(8)], [f"the {word}" for word in ("cat", "dog") * 4]),
        RL.model_copy(
            update={
                "lora": AdapterParams(rank=rank, alpha=8.0, targets="all-linear"),
                "learning_rate": rate,
            }
        ),
        seed=0,
        evaluate=lambda _: {"reward": 0.0},
        scratch=tmp_path / "rl",
        runtime=CPU,
    )
    assert result.curve[0]["kl"] == 0.0
    assert result.history[-1]["reward"] > result.history[0]["reward"] + 1.0
    after = result.policy.model.state_dict()
    assert {weight.dtype for weight in after.values()} == {torch.bfloat16}
    assert after.keys() == before.keys()
    assert all(
        torch.equal(before[name], weight) for name, weight in start.model.state_dict().items()
    )
