"""RL on a planted reward: the number of times a response says "good"."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.damages import DAMAGES, copied, warnings
from tests.small_models import rlhf_params, tiny_backbone, tiny_policy
from westofn.errors import ModelError, TrainingError
from westofn.generation.hf import sample
from westofn.models.policy import Policy
from westofn.models.reward import RewardModel, Scorer, with_reward_statistics
from westofn.networks.encoder_decoder import SharedDecoder
from westofn.params.network import Readout
from westofn.params.rlhf import RlhfParams
from westofn.runtime import Runtime
from westofn.text.encoding import Encoder, Padded, pad
from westofn.text.tokenizer import train_tokenizer
from westofn.training.rl import Prompts, RlResult, train_rl
from westofn.training.rl.checkpoint import State
from westofn.training.rl.networks import ValueNetwork
from westofn.training.rl.rollout import Rollout, standardised_rewards
from westofn.training.rl.tempered import TemperedPolicy
from westofn.training.rl.train import _Run, evaluation_steps
from westofn.training.rl.update import ppo_targets, rloo_targets

ROOT = Path(__file__).parents[2]
WORDS = "good bad red blue sun moon cat dog"
LIMIT = 4
CPU = Runtime(device="cpu")
PROMPTS = Prompts(
    [f"p{i}" for i in range(16)], [f"{a} {b}" for a in WORDS.split()[:4] for b in WORDS.split()[4:]]
)
PARAMS = rlhf_params()
RL_FILES = ("safetensors", "optimiser.pt")


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(train_tokenizer([f"{WORDS} {WORDS}"], "words", 64), 8, LIMIT)


@pytest.fixture
def policy(encoder: Encoder) -> Policy:
    return tiny_policy(encoder, seed=1, dropout=0.1)


class CountsGood(RewardModel):
    """Rewards a response with the number of its words that are "good"."""

    good: tuple[int, ...]

    def features(self, states: Any, responses: Padded) -> Tensor:
        hits = torch.stack([responses.ids == word for word in self.good]).any(0)
        return (hits & responses.mask).sum(-1, keepdim=True).float()


def _scorer(encoder: Encoder) -> Scorer:
    model = CountsGood(tiny_backbone(encoder, 2), "pointwise", 0)
    vocabulary = encoder.tokenizer.get_vocab()
    # A word keeps the space before it, so there are two tokens for it.
    model.good = tuple(vocabulary[word] for word in ("good", " good") if word in vocabulary)
    return Scorer(model.eval(), encoder)


@pytest.fixture
def scorer(encoder: Encoder) -> Scorer:
    return _scorer(encoder)


def _train(
    policy: Policy, scorer: Scorer, scratch: Path, params: RlhfParams = PARAMS, **options: Any
) -> RlResult:
    def evaluate(now: Policy) -> dict[str, float]:
        return {"reward": _mean_reward(now, scorer)}

    given = {"seed": 0, "evaluate": evaluate, "runtime": CPU} | options
    return train_rl(policy, scorer, PROMPTS, params, scratch=scratch, **given)


def _mean_reward(policy: Policy, scorer: Scorer) -> float:
    samples = sample(policy, PROMPTS.texts, PROMPTS.ids, indices=range(4), temperature=0.7, seed=5)
    texts = [policy.encoder.decode(rows) for rows in samples.ids.tolist()]
    return float(standardised_rewards(scorer, PROMPTS.texts, texts).mean())


def _weights(policy: Policy) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in policy.model.state_dict().items()}


def _equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def _with(**changes: Any) -> RlhfParams:
    return RlhfParams(**(PARAMS.model_dump() | changes))


@pytest.mark.parametrize("algorithm", ["ppo", "rloo"])
def test_rl_finds_the_planted_word(
    algorithm: str, policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    # 2 of the 10 tokens that can be drawn are "good", so a policy that knows nothing and never ends
    # says 4 · 0.2 = 0.8 of them in the 4 places of a response; the best says 4.
    params = _with(algorithm=algorithm, steps=12, samples_per_prompt=4, batch_size=32)
    result = _train(policy, scorer, tmp_path, params)
    assert result.curve[0]["reward"] < 0.8
    assert result.curve[-1]["reward"] > 3.0
    assert result.history[-1]["reward"] > 3.0
    assert result.facts["responses"] == 12 * 32


def test_the_curve_starts_at_zero_divergence_and_ends_at_the_last_step(
    policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    result = _train(policy, scorer, tmp_path)
    assert [row["step"] for row in result.curve] == [0, 3, 6]
    assert result.curve[0]["kl"] == 0.0
    assert result.curve[-1]["kl"] > 0.0
    assert result.curve[0].keys() >= {"step", "reward", "kl", "length", "entropy"}
    assert [row["step"] for row in result.history] == list(range(6))
    assert evaluation_steps(5, 50) == [0, 1, 2, 3, 4, 5]


def test_the_model_s_own_curve_is_of_batches_and_evaluations_without_a_judge(
    policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    def evaluate(now: Policy) -> dict[str, float]:
        return {"reward": 0.5, "gold": 9.0, "win_rate": 1.0}

    params = _with(steps=4, value_warmup_steps=2, warmup_fraction=0.75, evaluations=3)
    result = _train(policy, scorer, tmp_path, params, evaluate=evaluate)
    batches = [point for point in result.training if point["split"] == "train"]
    measured = [point for point in result.training if point["split"] == "validation"]
    assert [point["step"] for point in batches] == [1, 2, 3, 4]
    assert [point["reward"] for point in batches] == [row["reward"] for row in result.history]
    # The policy is frozen for two batches, then warms up over 3: 1 / 3 and 2 / 3 of the rate.
    rates = [point.get("learning_rate") for point in batches]
    assert rates[:2] == [None, None]
    assert rates[2:] == pytest.approx([params.learning_rate / 3, params.learning_rate * 2 / 3])
    assert ["loss" in point for point in batches] == [False, False, True, True]
    assert ["grad_norm" in point for point in batches] == [False, False, True, True]
    assert all(point["value_grad_norm"] > 0 for point in batches)
    assert [point["step"] for point in measured] == [0, 2, 4]
    assert not {"gold", "win_rate"} & {key for point in result.training for key in point}


def test_a_large_kl_weight_keeps_the_policy_near_its_start(
    policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    runs = {
        weight: _train(
            policy,
            scorer,
            tmp_path / str(weight),
            _with(algorithm="rloo", steps=12, kl_weight=weight, learning_rate=5e-3),
        )
        for weight in (0.0, 100.0)
    }
    # The best policy at weight 100 is π_start · exp(r / 100), r in [0, 4], all but π_start itself;
    # what is left is the noise of 12 steps.
    free, held = runs[0.0].curve[-1], runs[100.0].curve[-1]
    assert free["kl"] > 3.0
    assert held["kl"] < 0.2 * free["kl"]
    assert held["reward"] < 0.5 * free["reward"]


def test_the_start_policy_is_left_as_it_was(policy: Policy, scorer: Scorer, tmp_path: Path) -> None:
    before = _weights(policy)
    result = _train(policy, scorer, tmp_path)
    assert _equal(_weights(policy), before)
    assert not _equal(_weights(result.policy), before)


def test_the_policy_is_frozen_while_the_value_warms_up(
    policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    seen: list[dict[str, Tensor]] = []

    def evaluate(now: Policy) -> dict[str, float]:
        seen.append(_weights(now))
        return {"reward": 0.0}

    params = _with(steps=4, value_warmup_steps=3, evaluations=5)
    result = _train(policy, scorer, tmp_path, params, evaluate=evaluate)
    assert len(seen) == 5
    assert all(_equal(seen[step], _weights(policy)) for step in (0, 1, 2, 3))
    assert not _equal(seen[4], seen[3])
    losses = [row["value_loss"] for row in result.history]
    assert losses[2] < losses[0]
    assert ["policy_loss" in row for row in result.history] == [False, False, False, True]


def test_the_first_step_on_a_batch_is_on_policy(
    policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    # One step a batch: the ratio is 1, so nothing is clipped and old and new do not differ.
    params = _with(algorithm="rloo", minibatches=1, epochs=1)
    result = _train(policy, scorer, tmp_path, params)
    assert all(row["clip_fraction"] == 0.0 for row in result.history)
    assert all(abs(row["approx_kl"]) < 1e-9 for row in result.history)


@pytest.mark.parametrize("algorithm", ["ppo", "rloo"])
def test_equal_seeds_give_equal_weights(
    algorithm: str, policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    params = _with(algorithm=algorithm, steps=4)
    first = _train(policy, scorer, tmp_path / "a", params)
    again = _train(policy, scorer, tmp_path / "b", params)
    other = _train(policy, scorer, tmp_path / "c", params, seed=1)
    assert _equal(_weights(first.policy), _weights(again.policy))
    assert (first.curve, first.history) == (again.curve, again.history)
    assert not _equal(_weights(first.policy), _weights(other.policy))


@pytest.mark.parametrize("algorithm", ["ppo", "rloo"])
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    algorithm: str, policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    params = _with(algorithm=algorithm, steps=6, evaluations=4)
    whole = _train(policy, scorer, tmp_path / "whole", params)
    calls = 0

    def killed(now: Policy) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return {"reward": _mean_reward(now, scorer)}

    with pytest.raises(KeyboardInterrupt):
        _train(policy, scorer, tmp_path / "part", params, evaluate=killed)
    checkpoints = {path.name for path in (tmp_path / "part").iterdir()}
    assert checkpoints == {"step-00000000", "step-00000002"}
    resumed = _train(policy, scorer, tmp_path / "part", params)
    assert _equal(_weights(resumed.policy), _weights(whole.policy))
    assert (resumed.curve, resumed.history) == (whole.curve, whole.history)
    assert resumed.training == whole.training

    def refuse(now: Policy) -> dict[str, float]:
        raise AssertionError("a finished run has nothing left to measure")

    again = _train(policy, scorer, tmp_path / "part", params, evaluate=refuse)
    assert _equal(_weights(again.policy), _weights(whole.policy))


def test_a_run_goes_on_from_a_checkpoint_between_two_evaluations(
    policy: Policy,
    scorer: Scorer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    save_at_every_step: Callable[[], None],
) -> None:
    params = _with(algorithm="ppo", steps=6, evaluations=2)
    whole = _train(policy, scorer, tmp_path / "whole", params)
    save_at_every_step()
    original = _Run.advance
    steps: list[int] = []

    def advance(self: _Run, state: State) -> State:
        steps.append(state.step)
        if steps == [0, 1, 2, 3]:
            raise KeyboardInterrupt
        return original(self, state)

    monkeypatch.setattr(_Run, "advance", advance)
    with pytest.raises(KeyboardInterrupt):
        _train(policy, scorer, tmp_path / "part", params)
    resumed = _train(policy, scorer, tmp_path / "part", params)
    assert steps == [0, 1, 2, 3, 3, 4, 5]
    assert _equal(_weights(resumed.policy), _weights(whole.policy))
    assert (resumed.curve, resumed.history) == (whole.curve, whole.history)
    assert resumed.training == whole.training


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_costs_one_line_and_the_steps_since_the_one_before(
    damage: str,
    policy: Policy,
    scorer: Scorer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    params = _with(algorithm="ppo", steps=4, evaluations=3)
    whole = _train(policy, scorer, tmp_path / "whole", params)
    last = tmp_path / "whole" / "step-00000004"
    names = {path.name for path in last.iterdir()}
    assert names == {
        *(f"{name}.{kind}" for name in ("policy", "value") for kind in RL_FILES),
        "records.json",
        "manifest.json",
    }
    for name in sorted(names):
        part = copied(tmp_path / "whole", tmp_path / "part")
        DAMAGES[damage](part / last.name / name)
        resumed = _train(policy, scorer, part, params)
        assert _equal(_weights(resumed.policy), _weights(whole.policy))
        assert (resumed.curve, resumed.history) == (whole.curve, whole.history)
        (line,) = warnings(capsys)
        assert f"step-00000004/{name}:" in line
        assert line.endswith("; training goes on from step-00000002")
    for path in (tmp_path / "part").iterdir():
        DAMAGES[damage](path / "policy.optimiser.pt")
    resumed = _train(policy, scorer, tmp_path / "part", params)
    assert _equal(_weights(resumed.policy), _weights(whole.policy))
    assert warnings(capsys)[-1].endswith("; training starts again")


def test_a_checkpoint_that_was_not_finished_is_not_used(
    policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    (tmp_path / ".step-killed").mkdir(parents=True)
    (tmp_path / ".step-killed" / "policy.safetensors").write_bytes(b"half")
    assert len(_train(policy, scorer, tmp_path).curve) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(
    value: float, policy: Policy, scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    counts = CountsGood.features

    def breaks(self: CountsGood, states: Any, responses: Padded) -> Tensor:
        nonlocal calls
        calls += 1
        return counts(self, states, responses) + (value if calls > 4 else 0.0)

    monkeypatch.setattr(CountsGood, "features", breaks)
    with pytest.raises(TrainingError, match=r"reward is (nan|inf) at step 4.*learning_rate.*kl_w"):
        _train(policy, scorer, tmp_path, evaluate=lambda _: {"reward": 0.0})
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"step-00000000", "step-00000003"}


def test_a_loss_that_is_not_finite_ends_the_run(
    policy: Policy, scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = ValueNetwork.forward
    monkeypatch.setattr(
        ValueNetwork, "forward", lambda self, *inputs: forward(self, *inputs) * float("nan")
    )
    with pytest.raises(TrainingError, match=r"is nan at step 0.*retrain"):
        _train(policy, scorer, tmp_path)


def test_a_start_policy_with_nan_weights_is_refused(
    policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    with torch.no_grad():
        policy.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="kl is nan at step 0"):
        _train(policy, scorer, tmp_path)


@pytest.mark.parametrize("algorithm", ["ppo", "rloo"])
def test_recomputed_activations_do_not_change_the_result(
    algorithm: str,
    policy: Policy,
    scorer: Scorer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The policy has dropout, which stays off, although blocks recompute in training mode only.
    blocks, runs = SharedDecoder._block, 0

    def counted(self: SharedDecoder, *inputs: Any) -> Tensor:
        nonlocal runs
        runs += 1
        return blocks(self, *inputs)

    monkeypatch.setattr(SharedDecoder, "_block", counted)
    params = _with(algorithm=algorithm, steps=3, learning_rate=1e-3)
    kept = _train(policy, scorer, tmp_path / "kept", params)
    once, runs = runs, 0
    runtime = Runtime(device="cpu", gradient_checkpointing=True)
    again = _train(policy, scorer, tmp_path / "again", params, runtime=runtime)
    learned = 1 * 2 + 3 * 2 if algorithm == "ppo" else 3 * 2  # minibatches of policy and value
    assert runs == once + 2 * learned
    _assert_alike(again, kept)
    assert kept.history[-1]["reward"] == again.history[-1]["reward"]
    assert policy.model.decoder.dropout.p == 0.1  # the start policy keeps its own


@pytest.mark.parametrize("algorithm", ["ppo", "rloo"])
def test_the_micro_batch_does_not_change_the_result(
    algorithm: str, policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    # A minibatch of 4 prompts in parts of 3 and 1. Adam turns rounding of tiny gradients into
    # differences of up to one learning rate, hence plain statistics over weights.
    params = _with(algorithm=algorithm, steps=3, learning_rate=1e-3)
    whole = _train(policy, scorer, tmp_path / "whole", params)
    parts = _train(policy, scorer, tmp_path / "parts", params, runtime=Runtime("cpu", 6))
    _assert_alike(whole, parts)


def _assert_alike(one: RlResult, other: RlResult) -> None:
    for a, b in zip(one.history, other.history, strict=True):
        assert a == pytest.approx(b, abs=1e-4)
    for name, weight in _weights(one.policy).items():
        torch.testing.assert_close(weight, _weights(other.policy)[name], atol=1e-4, rtol=0)


def test_two_processes_train_like_one(tmp_path: Path, policy: Policy, scorer: Scorer) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*command, "-m", "tests.training.test_rl", str(tmp_path)],
        cwd=ROOT,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    both = json.loads((tmp_path / "history.json").read_text())
    alone = _train(policy, scorer, tmp_path / "alone", _with(steps=3, learning_rate=1e-3))
    assert len(both) == 3
    for a, b in zip(alone.history, both, strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_log_probabilities_are_those_of_the_distribution_that_was_sampled(
    policy: Policy,
) -> None:
    # Of the first token, by the frequencies of 20,000 draws at temperature 0.7.
    draws = 20_000
    samples = sample(policy, ["red sun"], ["p"], indices=range(draws), temperature=0.7, seed=3)
    first = samples.ids[0, :, 0]
    counts = torch.bincount(first, minlength=len(policy.tokenizer)) / draws
    prompts = pad(policy.encoder.prompts(["red sun"]), policy.encoder.pad_id)
    network = TemperedPolicy(policy, 0.7)
    ids = torch.arange(len(policy.tokenizer)).view(1, -1, 1)
    then_end = torch.full_like(ids, policy.encoder.eos_id)
    actions = Padded(torch.cat([ids, then_end], -1), torch.ones(*ids.shape[:2], 2).bool())
    with torch.no_grad():
        expected = network(prompts, actions)[0, :, 0].exp()
    possible = sorted(set(first.tolist()))
    assert policy.encoder.pad_id not in possible
    assert float(expected[possible].sum()) == pytest.approx(1.0, abs=1e-3)
    # Three standard deviations of a frequency are at most 3 · sqrt(0.25 / 20000) = 0.011.
    torch.testing.assert_close(counts, expected, atol=0.011, rtol=0)


def _rollout(reward: list[list[float]], logprob: list[Any], ref: list[Any]) -> Rollout:
    shape = torch.tensor(logprob)
    mask = torch.ones_like(shape, dtype=torch.bool)
    nothing = Padded(
        torch.zeros(len(reward), 1, dtype=torch.long), torch.ones(len(reward), 1).bool()
    )
    actions = Padded(torch.zeros_like(mask, dtype=torch.long), mask)
    return Rollout(nothing, actions, shape, torch.tensor(ref), torch.tensor(reward), 0)


def test_rloo_advantages_of_a_prompt_add_up_to_zero() -> None:
    # Log-ratios per response: 1 and 0 nats, weighted 0.5: rewards 3 - 0.5 and 1 become 2.5 and 1.
    rollout = _rollout([[3.0, 1.0]], [[[-1.0, -1.0], [-2.0, -2.0]]], [[[-1.5, -1.5], [-2.0, -2.0]]])
    targets = rloo_targets(rollout, _with(algorithm="rloo", kl_weight=0.5))
    assert targets.advantage.flatten().tolist() == [1.5, -1.5]
    assert float(targets.advantage.sum()) == 0.0
    assert targets.logprob.flatten().tolist() == [-2.0, -4.0]


def test_ppo_returns_without_discount_are_the_penalised_reward_still_to_come() -> None:
    # Log-ratio 0.5 a token, weight 0.5: rewards -0.25 and 3 - 0.25. With lambda 1 the return of
    # the first token is 2.5, of the second 2.75, whatever the values.
    rollout = _rollout([[3.0]], [[[-1.0, -1.0]]], [[[-1.5, -1.5]]])
    targets = ppo_targets(
        rollout, torch.tensor([[[0.7, -0.2]]]), _with(kl_weight=0.5, gae_lambda=1.0)
    )
    assert targets.returns is not None
    assert targets.returns.flatten().tolist() == pytest.approx([2.5, 2.75])
    # Two advantages, 1.8 and 2.95, whitened: one standard deviation below and above their mean.
    assert targets.advantage.flatten().tolist() == pytest.approx([-1.0, 1.0], abs=1e-4)


@pytest.mark.parametrize("readout", ["mean", "last"])
def test_the_value_network_starts_as_the_standardised_reward_model(
    readout: Readout, encoder: Encoder
) -> None:
    torch.manual_seed(0)
    model = RewardModel(tiny_backbone(encoder, 2), "pointwise", 0, readout).eval()
    scorer = Scorer(model, encoder, reward_mean=0.3, reward_std=2.0)
    prompts = pad(encoder.prompts(["red sun"]), encoder.pad_id)
    responses = pad(encoder.responses(["good cat"]), encoder.pad_id)
    whole = Padded(responses.ids[:, None], responses.mask[:, None])
    longer = torch.cat([whole.ids, whole.ids[..., :1]], dim=-1)
    with torch.no_grad():
        values = ValueNetwork(scorer).eval()(
            prompts, Padded(longer, torch.ones_like(longer, dtype=torch.bool))
        )
    # V before the action that would follow the end token is the reward of the whole response.
    expected = standardised_rewards(scorer, ["red sun"], [["good cat"]])
    torch.testing.assert_close(values[..., -1], expected, atol=1e-5, rtol=0)


def test_responses_that_the_limit_cut_are_counted(
    policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    # All 10 tokens are equally likely, so 0.9^5 = 59 % of 16 responses come to no end, 9.4, with a
    # standard deviation of sqrt(16 · 0.59 · 0.41) = 2.
    with torch.no_grad():
        policy.model.lm_head.weight.zero_()
    result = _train(policy, scorer, tmp_path, _with(steps=1, value_warmup_steps=0))
    assert 3 <= result.history[0]["cut"] <= 15
    assert result.facts["cut_by_limit"] == result.history[0]["cut"]


@pytest.mark.parametrize("algorithm", ["ppo", "rloo"])
def test_a_missing_end_token_costs_its_penalty(
    algorithm: str, policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    free, charged = (
        _train(
            policy,
            scorer,
            tmp_path / str(penalty),
            _with(algorithm=algorithm, steps=1, value_warmup_steps=0, missing_end_penalty=penalty),
        )
        for penalty in (0.0, 1.5)
    )
    cut = free.history[0]["cut"]
    assert 0 < cut == charged.history[0]["cut"] < free.facts["responses"]
    cost = 1.5 * cut / int(free.facts["responses"])
    assert free.history[0]["reward"] - charged.history[0]["reward"] == pytest.approx(cost, abs=1e-5)
    assert not _equal(_weights(free.policy), _weights(charged.policy))


@pytest.mark.parametrize("algorithm", ["ppo", "rloo"])
def test_a_policy_learns_to_end_where_the_end_is_all_that_pays(
    algorithm: str, policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    # No word is rewarded, so what is left to learn is the end token.
    scorer.model.good = (-1,)  # type: ignore[union-attr]
    params = _with(
        algorithm=algorithm, steps=12, value_warmup_steps=0, missing_end_penalty=3.0, kl_weight=0.0
    )
    history = _train(policy, scorer, tmp_path, params).history
    first, last = (sum(batch["cut"] for batch in part) for part in (history[:3], history[-3:]))
    assert last < 0.7 * first


def test_a_policy_that_says_nothing_can_be_trained(
    policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    # Every response is the end token alone.
    with torch.no_grad():
        policy.model.lm_head.weight.zero_()
    forward = policy.model.lm_head.forward
    ends = torch.zeros(len(policy.tokenizer))
    ends[policy.encoder.eos_id] = 100.0
    policy.model.lm_head.forward = lambda state: forward(state) + ends
    result = _train(policy, scorer, tmp_path, _with(steps=1, value_warmup_steps=0))
    assert result.history[0]["length"] == 1.0
    assert result.history[0]["reward"] == 0.0


def test_other_tokens_than_the_policys_are_refused(policy: Policy, tmp_path: Path) -> None:
    other = Encoder(train_tokenizer(["good other words"], "words", 64), 8, LIMIT)
    with pytest.raises(ModelError, match="vocabulary is"):
        _train(policy, _scorer(other), tmp_path)


def test_a_pairwise_reward_model_is_refused(policy: Policy, tmp_path: Path) -> None:
    model = RewardModel(tiny_backbone(policy.encoder, 2), "embedding", 1)
    with pytest.raises(ModelError, match="pointwise"):
        _train(policy, Scorer(model, policy.encoder), tmp_path)


def test_a_reward_model_without_an_opinion_is_refused(policy: Policy, tmp_path: Path) -> None:
    model = RewardModel(tiny_backbone(policy.encoder, 2), "pointwise", 0)  # its start: all zero
    blank = with_reward_statistics(Scorer(model, policy.encoder), torch.zeros(4))
    with pytest.raises(TrainingError, match="the same reward"):
        _train(policy, blank, tmp_path)


def test_fewer_prompts_than_a_batch_are_refused(
    policy: Policy, scorer: Scorer, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="16 prompts, a batch needs 32"):
        _train(policy, scorer, tmp_path, _with(batch_size=64))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"batch_size": 10}, "batch_size 10 is not a multiple of 4"),
        ({"value_warmup_steps": 6}, "value_warmup_steps 6 of steps 6"),
        ({"algorithm": "rloo", "samples_per_prompt": 1}, "samples_per_prompt is 1"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(
    changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        _with(**changes)


def _worker(folder: Path) -> None:
    """One of two processes; the first writes what it went through."""
    encoder = Encoder(train_tokenizer([f"{WORDS} {WORDS}"], "words", 64), 8, LIMIT)
    policy = tiny_policy(encoder, seed=1, dropout=0.1)
    params = _with(steps=3, learning_rate=1e-3)
    result = _train(policy, _scorer(encoder), folder / "both", params)
    if os.environ["RANK"] == "0":
        (folder / "history.json").write_text(json.dumps(result.history))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    _worker(Path(sys.argv[1]))
