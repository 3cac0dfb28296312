"""LoRA in every stage that trains: it learns, freezes the rest, and leaves a plain model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.small_models import (
    COMPARATORS,
    PROMPTS,
    RESPONSES,
    reward_params,
    rlhf_params,
    sft_params,
    start_params,
    tiny_policy,
)
from tests.training.planted import planted_pairs
from westofn.errors import ParameterError
from westofn.models.policy import Policy, load_policy, save_policy
from westofn.models.reward import Scorer
from westofn.models.saved_reward import load_reward_model, save_reward_model
from westofn.models.scoring import pair_margins, score_rows
from westofn.params.comparator import ComparatorName
from westofn.params.lora import AdapterParams, LoraParams
from westofn.runtime import Runtime
from westofn.text.encoding import Encoder
from westofn.training import preference
from westofn.training.loop import _Progress
from westofn.training.pairs import TrainingPairs
from westofn.training.preference import train_reward_model
from westofn.training.recipe import Head, Recipe
from westofn.training.rl import Prompts, RlResult, train_rl
from westofn.training.sft import Examples, SftResult, train_sft
from westofn.training.trained import TrainedReward

CPU = Runtime(device="cpu")
LORA = LoraParams(rank=4, alpha=8.0, targets="all-linear", dropout=0.1)
LEARN = {"steps": 40, "batch_size": 32, "learning_rate": 2e-2, "average_decay": 0.5}
CANARIES = list(zip(PROMPTS, RESPONSES, strict=True))


@pytest.fixture(scope="module")
def policy(small_encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy") / "policy"
    save_policy(tiny_policy(small_encoder, seed=4), folder, CANARIES, {})
    return folder


def _train(
    policy: Path, scratch: Path, comparator: ComparatorName, **changes: Any
) -> TrainedReward:
    params = reward_params(**({"lora": LORA} | LEARN | changes))
    return train_reward_model(
        "student_rm",
        TrainingPairs(planted_pairs(300, seed=1), None, planted_pairs(100, seed=2)),
        Recipe(policy, start_params(), params, 0, Head(comparator, 2)),
        scratch,
        CPU,
    )


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def _equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


@contextmanager
def _interrupted(at: int) -> Iterator[None]:
    def on_step_end(self: _Progress, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == at:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Progress, "on_step_end", on_step_end)
        yield


FRESH = """
import sys
from pathlib import Path
from westofn.models.saved_reward import load_reward_model
from westofn.models.scoring import score_rows
scorer = load_reward_model(Path(sys.argv[1]))
print("peft" in sys.modules, score_rows(scorer, [sys.argv[2]], [sys.argv[3]]).tolist()[0][0])
"""


class TestRewardModels:
    """A reward model of adapters and a head."""

    @pytest.mark.parametrize("comparator", COMPARATORS)
    def test_a_planted_preference_is_learned_on_new_pairs(
        self, comparator: ComparatorName, policy: Path, tmp_path: Path
    ) -> None:
        trained = _train(policy, tmp_path, comparator)
        fresh = planted_pairs(200, seed=3)
        margins = pair_margins(trained.scorer, fresh.prompts, fresh.chosen, fresh.rejected)
        assert float((margins > 0).float().mean()) > 0.95

    def test_only_the_layers_with_adapters_move(self, policy: Path, tmp_path: Path) -> None:
        targets = LORA.model_copy(update={"targets": "q,v"})
        trained = _train(policy, tmp_path, "pointwise", lora=targets, steps=6)
        start = load_policy(policy).model.state_dict()
        after = trained.scorer.model.backbone.state_dict()
        assert after.keys() == start.keys()
        moved = {name for name in start if not torch.equal(start[name], after[name])}
        assert {name.split(".")[-2] for name in moved} == {"q", "v"}
        facts = trained.facts
        assert (facts["lora_rank"], facts["lora_alpha"], facts["lora_targets"]) == (4, 8.0, "q,v")
        # Six attentions of 16 × 16 with two adapted layers each, and the head.
        assert facts["trained_weights"] == 6 * 2 * 4 * (16 + 16) + 16

    def test_a_fresh_process_reads_head_and_adapters_without_peft(
        self, policy: Path, tmp_path: Path
    ) -> None:
        trained = _train(policy, tmp_path / "scratch", "pointwise", steps=6)
        folder = tmp_path / "rm"
        save_reward_model(trained.scorer, folder, CANARIES, trained.facts)
        done = subprocess.run(
            [sys.executable, "-c", FRESH, str(folder), PROMPTS[0], RESPONSES[0]],
            capture_output=True,
            text=True,
            check=True,
        )
        imported, reward = done.stdout.split()
        assert imported == "False"
        here = float(score_rows(trained.scorer, PROMPTS[:1], RESPONSES[:1])[0, 0])
        assert here == pytest.approx(float(reward), abs=1e-5)
        assert here != 0.0

    def test_several_runs_are_averaged_as_full_weights_would_be(
        self, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Mapping[str, Tensor]] = []
        original = preference.merge_adapters

        def spied(module: nn.Module, runs: Sequence[Mapping[str, Tensor]]) -> None:
            seen.extend(runs)
            original(module, runs)

        monkeypatch.setattr(preference, "merge_adapters", spied)
        trained = _train(policy, tmp_path, "pointwise", runs=2, steps=6)
        one, other = seen
        stem = "decoder.block.1.layer.0.SelfAttention.v"
        a, b = (f"backbone.{stem}.lora_{side}.default.weight" for side in "AB")
        assert not torch.equal(one[b], other[b])
        change = (one[b] @ one[a] + other[b] @ other[a]) / 2 * LORA.alpha / LORA.rank
        start = load_policy(policy).model.state_dict()[f"{stem}.weight"]
        merged = trained.scorer.model.backbone.state_dict()[f"{stem}.weight"]
        torch.testing.assert_close(merged, start + change)
        assert float(change.abs().max()) > 1e-3
        head = (one["head.weight"] + other["head.weight"]) / 2
        ratio = trained.scorer.model.head.weight / head
        torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0.0)

    def test_the_moving_average_holds_no_second_copy_of_what_is_frozen(
        self, small_encoder: Encoder, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        modules: list[preference._PreferenceLoss] = []
        original = preference.run

        def spied(job: Any, runtime: Runtime) -> Any:
            modules.append(job.module)
            return original(job, runtime)

        monkeypatch.setattr(preference, "run", spied)
        _train(policy, tmp_path, "pointwise", runs=2, steps=4)
        memory = {
            weight.data_ptr()
            for module in modules
            for weight in (module.model.backbone.shared.weight, module.kept.backbone.shared.weight)
        }
        assert len(memory) == 1
        kept = dict(modules[0].kept.named_parameters())
        learned = [name for name in kept if "lora_" in name]
        assert learned
        for name, weight in modules[0].model.named_parameters():
            assert (kept[name].data_ptr() == weight.data_ptr()) is (
                name not in (*learned, "head.weight")
            )

    def test_checkpoints_hold_what_learns_and_a_run_goes_on_from_them(
        self, policy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        changes = {"steps": 9, "runs": 2}
        whole = _train(policy, tmp_path / "whole", "embedding", **changes)
        with _interrupted(7), pytest.raises(KeyboardInterrupt):
            _train(policy, tmp_path / "cut", "embedding", **changes)
        (file,) = (tmp_path / "cut").glob("run-0/checkpoint-6/model.safetensors")
        names = load_file(file)
        assert {name.split(".")[0] for name in names} == {"model", "average"}
        assert all("lora_" in n or "head" in n or n == "average.updates" for n in names)
        capfd.readouterr()
        resumed = _train(policy, tmp_path / "cut", "embedding", **changes)
        assert _equal(_weights(resumed.scorer.model), _weights(whole.scorer.model))
        assert resumed.facts == whole.facts
        assert "missing keys" not in capfd.readouterr().err

    def test_a_wrong_target_is_named_with_its_arm(self, policy: Path, tmp_path: Path) -> None:
        wrong = LORA.model_copy(update={"targets": "q_proj"})
        with pytest.raises(
            ParameterError, match=r"^student_rm: lora.targets contains 'q_proj', wh"
        ):
            _train(policy, tmp_path, "pointwise", lora=wrong)


def _examples(count: int) -> Examples:
    rows = [PROMPTS[row % 4] for row in range(count)]
    return Examples(rows, ["good dog" if len(row) > 6 else "bad" for row in rows])


def _sft(policy: Path, scratch: Path, **changes: Any) -> SftResult:
    given = {"model": str(policy), "lora": LORA, "steps": 30, "learning_rate": 2e-2} | changes
    return train_sft(
        _examples(32), _examples(8), sft_params(**given), seed=0, scratch=scratch, runtime=CPU
    )


class TestSft:
    """A policy from a pretrained model and adapters."""

    def test_it_learns_and_what_is_frozen_stays(self, policy: Path, tmp_path: Path) -> None:
        few = _sft(policy, tmp_path / "few", steps=1)
        many = _sft(policy, tmp_path / "many")
        first, last = (float(r.facts["validation_loss_per_token"]) for r in (few, many))
        assert last < 0.5 * first
        start, after = load_policy(policy).model, many.policy.model
        assert _weights(after).keys() == _weights(start).keys()
        assert torch.equal(after.shared.weight, start.shared.weight)
        assert torch.equal(after.lm_head.weight, start.lm_head.weight)
        save_policy(many.policy, tmp_path / "saved", CANARIES, many.facts)
        assert _equal(_weights(load_policy(tmp_path / "saved").model), _weights(after))

    def test_a_resumed_run_ends_like_an_uninterrupted_one(
        self, policy: Path, tmp_path: Path
    ) -> None:
        whole = _sft(policy, tmp_path / "whole", steps=10)
        with _interrupted(5), pytest.raises(KeyboardInterrupt):
            _sft(policy, tmp_path / "cut", steps=10)
        (file,) = (tmp_path / "cut").glob("checkpoint-4/model.safetensors")
        assert all("lora_" in name for name in load_file(file))
        resumed = _sft(policy, tmp_path / "cut", steps=10)
        assert _equal(_weights(resumed.policy.model), _weights(whole.policy.model))


RL = rlhf_params(
    lora=AdapterParams(rank=4, alpha=8.0, targets="all-linear"),
    steps=10,
    batch_size=32,
    samples_per_prompt=4,
    learning_rate=3e-2,
)


def _rl(
    start: Policy,
    scorer: Scorer,
    scratch: Path,
    evaluate: Callable[[Policy], dict[str, float]] = lambda _: {"reward": 0.0},
    **changes: Any,
) -> RlResult:
    return train_rl(
        start,
        scorer,
        Prompts([f"p{i}" for i in range(8)], [f"the {word}" for word in ("cat", "dog") * 4]),
        RL.model_copy(update=changes),
        seed=0,
        evaluate=evaluate,
        scratch=scratch,
        runtime=CPU,
    )


class TestRl:
    """A policy and a value network of adapters on shared weights."""

    @pytest.fixture(scope="class")
    @classmethod
    def judge(cls, policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("judge") / "rm"
        trained = _train(policy, folder.parent / "scratch", "pointwise", lora=LORA)
        save_reward_model(trained.scorer, folder, CANARIES, trained.facts)
        return folder

    @pytest.mark.parametrize("algorithm", ["ppo", "rloo"])
    def test_it_raises_the_reward_from_zero_divergence(
        self, algorithm: str, policy: Path, judge: Path, tmp_path: Path
    ) -> None:
        start, scorer = load_policy(policy), load_reward_model(judge)
        before = _weights(start.model)
        result = _rl(start, scorer, tmp_path, algorithm=algorithm)
        assert result.curve[0]["kl"] == 0.0
        assert result.history[-1]["reward"] > result.history[0]["reward"] + 1.0
        assert _equal(_weights(start.model), before)
        after = _weights(result.policy.model)
        assert after.keys() == before.keys()
        assert torch.equal(after["lm_head.weight"], before["lm_head.weight"])
        assert result.facts["lora_rank"] == 4
        assert json.dumps(result.facts)

    def test_checkpoints_hold_what_learns_and_a_run_goes_on_from_them(
        self, policy: Path, judge: Path, tmp_path: Path
    ) -> None:
        scorer, calls = load_reward_model(judge), 0

        def killed(_: Policy) -> dict[str, float]:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise KeyboardInterrupt
            return {"reward": 0.0}

        whole = _rl(load_policy(policy), scorer, tmp_path / "whole", steps=6, evaluations=4)
        with pytest.raises(KeyboardInterrupt):
            _rl(load_policy(policy), scorer, tmp_path / "cut", killed, steps=6, evaluations=4)
        place = max((tmp_path / "cut").iterdir())
        assert all("lora_" in name for name in load_file(place / "policy.safetensors"))
        value = load_file(place / "value.safetensors")
        assert {"head.weight", "head.bias"} == {name for name in value if "lora_" not in name}
        resumed = _rl(load_policy(policy), scorer, tmp_path / "cut", steps=6, evaluations=4)
        assert _equal(_weights(resumed.policy.model), _weights(whole.policy.model))
        assert (resumed.curve, resumed.history) == (whole.curve, whole.history)
