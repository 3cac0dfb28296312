"""One function trains every reward model: it finds what is planted, and nothing elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.small_families import tiny_model
from tests.small_models import COMPARATORS, reward_params, start_params, tiny_policy
from tests.training.planted import planted_pairs
from westofn.core.calibration import calibrated_loss, calibrating_scale
from westofn.core.losses import LOSSES
from westofn.errors import TrainingError
from westofn.models.policy import Policy, save_policy
from westofn.models.reward import RewardModel
from westofn.models.saved_reward import load_reward_model, save_reward_model
from westofn.models.scoring import pair_margins, score_rows
from westofn.networks import causal
from westofn.networks.encoder_decoder import SharedDecoder
from westofn.params.comparator import ComparatorName
from westofn.runtime import Runtime
from westofn.text.encoding import Encoder
from westofn.training import curves, preference
from westofn.training.loop import History, Job, _Progress
from westofn.training.pairs import Preferences, TrainingPairs
from westofn.training.preference import train_reward_model
from westofn.training.recipe import Head, Recipe
from westofn.training.trained import TrainedReward

CPU = Runtime(device="cpu")
RECOMPUTES = Runtime(device="cpu", gradient_checkpointing=True)


def _train(
    policy: Path,
    folder: Path,
    human: Preferences | None = None,
    *,
    synthetic: Preferences | None = None,
    validation: Preferences | None = None,
    comparator: ComparatorName = "pointwise",
    runtime: Runtime = CPU,
    seed: int = 0,
    start: str = "policy",
    **changes: Any,
) -> TrainedReward:
    return train_reward_model(
        "student_rm",
        TrainingPairs(
            planted_pairs(24, seed=1) if human is None else human,
            synthetic,
            planted_pairs(16, seed=2) if validation is None else validation,
        ),
        Recipe(policy, start_params(start), reward_params(**changes), seed, Head(comparator, 2)),
        folder,
        runtime,
    )


def _weights(trained: TrainedReward) -> dict[str, Tensor]:
    return {name: w.detach().clone() for name, w in trained.scorer.model.state_dict().items()}


def _equal(a: TrainedReward, b: TrainedReward) -> bool:
    first, second = _weights(a), _weights(b)
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


LEARN = {
    "steps": 40,
    "batch_size": 32,
    "learning_rate": 8e-3,
    "dropout": 0.1,
    "average_decay": 0.5,
}


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_a_planted_preference_is_learned_on_newplanted_pairs(
    comparator: ComparatorName, policy: Path, tmp_path: Path
) -> None:
    trained = _train(
        policy,
        tmp_path,
        planted_pairs(300, seed=1),
        validation=planted_pairs(200, seed=2),
        comparator=comparator,
        **LEARN,
    )
    assert float(trained.facts["validation_accuracy"]) > 0.95
    fresh = planted_pairs(200, seed=3)
    margins = pair_margins(trained.scorer, fresh.prompts, fresh.chosen, fresh.rejected)
    assert float((margins > 0).float().mean()) > 0.95


def test_shuffled_labels_stay_near_chance(policy: Path, tmp_path: Path) -> None:
    trained = _train(
        policy,
        tmp_path,
        planted_pairs(300, seed=1, shuffled=True),
        validation=planted_pairs(400, seed=2, shuffled=True),
        **LEARN,
    )
    # 400 fair coins have a standard deviation of 0.025, and the best of 3 evaluations was taken.
    assert abs(float(trained.facts["validation_accuracy"]) - 0.5) < 0.08


def _spy_history(monkeypatch: pytest.MonkeyPatch) -> list[History]:
    seen: list[History] = []
    original = preference.run

    def spied(job: Job, runtime: Runtime) -> History:
        seen.append(original(job, runtime))
        return seen[-1]

    monkeypatch.setattr(preference, "run", spied)
    return seen


def test_the_checkpoint_of_the_smallest_calibrated_loss_is_kept(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Right for a while, then turned round: what is learned last is wrong on validation.
    histories = _spy_history(monkeypatch)
    validation = planted_pairs(100, seed=2)
    noisy = planted_pairs(12, seed=6, shuffled=True)
    trained = _train(
        policy,
        tmp_path,
        noisy,
        validation=validation,
        steps=40,
        evaluations=8,
        learning_rate=2e-2,
    )
    (history,) = histories
    losses = {row["step"]: row["calibrated_loss"] for row in history.evaluations}
    assert list(losses) == [5, 10, 15, 20, 25, 30, 35, 40]
    best = min(losses, key=lambda step: losses[step])
    assert trained.facts["best_step"] == history.best_step == best < 40
    margins = pair_margins(
        trained.scorer, validation.prompts, validation.chosen, validation.rejected
    )
    assert calibrated_loss(margins) == pytest.approx(losses[best], abs=1e-5)
    assert losses[best] < losses[40] - 1e-3


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_margins_are_scaled_to_what_validation_says_of_them(
    comparator: ComparatorName, policy: Path, tmp_path: Path
) -> None:
    # Right in about three pairs of four, so that no learning rate can make it sure with reason.
    validation = planted_pairs(60, seed=2)
    turned = planted_pairs(20, seed=3)
    validation = Preferences(
        [*validation.prompts, *turned.prompts],
        [*validation.chosen, *turned.rejected],
        [*validation.rejected, *turned.chosen],
        [1.0] * 80,
    )
    trained = _train(
        policy,
        tmp_path,
        planted_pairs(24, seed=1),
        validation=validation,
        comparator=comparator,
        steps=40,
        learning_rate=2e-2,
    )
    margins = pair_margins(
        trained.scorer, validation.prompts, validation.chosen, validation.rejected
    )
    assert calibrating_scale(margins) == pytest.approx(1, rel=0.01)
    assert trained.facts["temperature"] != pytest.approx(1, rel=0.05)  # there was something to mend
    # It is as sure of its choice as it is right.
    assert float(margins.abs().sigmoid().mean()) == pytest.approx(60 / 80, abs=0.04)


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_the_weights_of_several_runs_are_averaged(
    comparator: ComparatorName, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[dict[str, Tensor]] = []
    original = preference._mean_weights

    def spied(runs: Sequence[preference._Run]) -> dict[str, Tensor]:
        kept.extend(run.weights for run in runs)
        return original(runs)

    monkeypatch.setattr(preference, "_mean_weights", spied)
    trained = _train(policy, tmp_path, comparator=comparator, runs=2, steps=6)
    one, other = kept
    weights = trained.scorer.model.state_dict()
    moved = [key for key in one if not torch.equal(one[key], other[key])]
    assert moved  # the runs differ in their batches and dropout
    for key in one:
        if key != "head.weight":  # scaled by the temperature
            assert torch.allclose(weights[key], (one[key] + other[key]) / 2, atol=1e-6), key
    head = (one["head.weight"] + other["head.weight"]) / 2
    ratio = weights["head.weight"][0] / head[0]
    assert torch.allclose(ratio, ratio.mean().expand_as(ratio), rtol=1e-3)


def test_recomputed_activations_train_the_same_model(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks, runs = SharedDecoder._block, 0

    def counted(self: SharedDecoder, *inputs: Any) -> Tensor:
        nonlocal runs
        runs += 1
        return blocks(self, *inputs)

    monkeypatch.setattr(SharedDecoder, "_block", counted)
    changes: dict[str, Any] = {"evaluations": 1, "dropout": 0.2, "learning_rate": 1e-4}
    kept = _train(policy, tmp_path / "kept", **changes)
    once, runs = runs, 0
    again = _train(policy, tmp_path / "again", runtime=RECOMPUTES, **changes)
    assert runs == once + 6 * 2  # 6 steps, 2 layers
    for name, weight in _weights(again).items():
        torch.testing.assert_close(weight, _weights(kept)[name], atol=1e-6, rtol=1e-5)
    assert not again.scorer.model.backbone.is_activation_checkpointing


@pytest.mark.parametrize(("comparator", "micro_batch"), [("embedding", 1), ("joint", 2)])
def test_micro_batches_train_as_the_whole_batch_does(
    comparator: ComparatorName, micro_batch: int, policy: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"learning_rate": 1e-4, "comparator": comparator}
    changes |= {"synthetic": planted_pairs(10, seed=8), "evaluations": 1}
    whole = _train(policy, tmp_path / "whole", **changes)
    divided = Runtime(device="cpu", micro_batch=micro_batch)
    parts = _train(policy, tmp_path / "parts", runtime=divided, **changes)
    start = load_start(policy)
    moved = 0.0
    for name, weight in _weights(parts).items():
        torch.testing.assert_close(weight, _weights(whole)[name], atol=1e-5, rtol=1e-5)
        if name in start:
            moved = max(moved, float((weight - start[name]).abs().max()))
    assert moved > 1e-4


def load_start(policy: Path) -> dict[str, Tensor]:
    from westofn.models.policy import load_policy

    return {f"backbone.{k}": v for k, v in load_policy(policy).model.state_dict().items()}


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_weights(
    policy: Path, tmp_path: Path
) -> None:
    canaries = [("the cat", "good"), ("sun", "bad")]
    for name in ("a", "b"):
        trained = _train(policy, tmp_path / f"scratch-{name}", dropout=0.2)
        save_reward_model(trained.scorer, tmp_path / name, canaries, trained.facts)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert {"model.safetensors", "head.safetensors", "card.json"} <= set(files)
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    other = _train(policy, tmp_path / "scratch-c", seed=1, dropout=0.2)
    assert not _equal(other, trained)


class PulledPlugError(Exception):
    """The run ends here."""


@pytest.mark.parametrize("every_step", [False, True])
def test_a_training_that_was_interrupted_often_ends_as_one_that_was_not(
    every_step: bool,
    policy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    save_at_every_step: Callable[[], None],
) -> None:
    monkeypatch.setattr(curves, "POINTS", 2)  # so that checkpoints lie between two records
    changes: dict[str, Any] = {"steps": 8, "evaluations": 4, "dropout": 0.2}
    changes |= {"average_decay": 0.5, "runs": 2}
    whole = _train(policy, tmp_path / "whole", **changes)
    if every_step:
        save_at_every_step()
    original = _Progress.on_step_end
    for index, at in ((0, 4), (0, 8), (1, 4)) if every_step else ((0, 3), (0, 7), (1, 3)):

        def pull(
            self: _Progress, args: Any, state: Any, control: Any, at: int = at, **options: Any
        ) -> None:
            original(self, args, state, control, **options)
            if state.global_step == at:
                raise PulledPlugError

        monkeypatch.setattr(_Progress, "on_step_end", pull)
        with pytest.raises(PulledPlugError):
            _train(policy, tmp_path / "cut", **changes)
        assert (tmp_path / "cut" / f"run-{index}" / f"checkpoint-{at - 1}").is_dir()
    monkeypatch.setattr(_Progress, "on_step_end", original)
    resumed = _train(policy, tmp_path / "cut", **changes)
    assert _equal(resumed, whole)
    assert resumed.facts == whole.facts
    assert resumed.curve == whole.curve
    assert resumed.scorer.reward_std == whole.scorer.reward_std


@pytest.mark.parametrize(("steps", "rate"), [(1, 1e38), (10, 1e30)])
def test_a_loss_that_is_not_finite_ends_the_run(
    steps: int, rate: float, policy: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"^student_rm: .* lower reward\.learning_rate"):
        _train(policy, tmp_path, learning_rate=rate, steps=steps)
    assert not list(tmp_path.rglob("checkpoint-*"))


def test_pairs_that_are_too_long_are_dropped_and_counted_by_origin(
    policy: Path, tmp_path: Path
) -> None:
    long = "so" + " so" * 8  # 9 tokens; the policy takes 8
    human, synthetic = planted_pairs(10, seed=1), planted_pairs(6, seed=2)
    human.chosen[0], human.rejected[1] = long, long
    synthetic.rejected[3] = long
    trained = _train(policy, tmp_path, human, synthetic=synthetic, steps=1)
    counts = {key: trained.facts[key] for key in list(trained.facts)[:4]}
    assert counts == {
        "human_pairs": 8,
        "human_dropped_too_long": 2,
        "synthetic_pairs": 5,
        "synthetic_dropped_too_long": 1,
    }
    # Of 16 pairs three have a response of 9 tokens.
    assert trained.facts["max_response_tokens"] == 8
    assert trained.facts["response_tokens_for_95_percent"] == 9
    assert trained.facts["validation_dropped_too_long"] == 0


def test_prompts_that_lose_their_beginning_are_counted(policy: Path, tmp_path: Path) -> None:
    human = planted_pairs(6, seed=1)
    human.prompts[:2] = [" ".join(["sun"] * 60)] * 2
    facts = _train(policy, tmp_path, human, steps=1).facts
    assert facts["prompts_trimmed"] == 2


@pytest.mark.parametrize("which", ["human", "synthetic", "validation"])
def test_a_set_without_a_fitting_pair_is_refused_by_name(
    which: str, policy: Path, tmp_path: Path
) -> None:
    spoilt = planted_pairs(3, seed=1)
    spoilt.chosen[:] = ["so" + " so" * 8] * 3
    wanted = {"human": "human training pairs", "synthetic": "synthetic pairs"}
    match = f"^student_rm: none of 3 {wanted.get(which, 'validation pairs')} fits"
    with pytest.raises(TrainingError, match=match):
        _train(policy, tmp_path, **{which: spoilt})


def test_every_batch_holds_as_many_synthetic_pairs_as_human_ones(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []
    original = preference.run

    def spied(job: Job, runtime: Runtime) -> History:
        jobs.append(job)
        return original(job, runtime)

    monkeypatch.setattr(preference, "run", spied)
    _train(policy, tmp_path, planted_pairs(20, seed=1), synthetic=planted_pairs(5, seed=2), steps=5)
    (job,) = jobs
    assert len(job.rows) == 25
    assert ((job.plan < 20).sum(1) == 4).all()
    assert ((job.plan >= 20).sum(1) == 4).all()


def test_the_statistics_are_of_both_responses_of_the_human_trainingplanted_pairs(
    policy: Path, tmp_path: Path
) -> None:
    human = planted_pairs(24, seed=1)
    trained = _train(policy, tmp_path / "scratch", human, synthetic=planted_pairs(10, seed=9))
    rewards = score_rows(trained.scorer, human.prompts * 2, [*human.chosen, *human.rejected])[:, 0]
    assert trained.scorer.reward_mean == pytest.approx(float(rewards.mean()), abs=1e-5)
    assert trained.scorer.reward_std == pytest.approx(float(rewards.std()), rel=1e-5)
    save_reward_model(trained.scorer, tmp_path / "rm", [("the cat", "good")], trained.facts)
    again = load_reward_model(tmp_path / "rm")
    assert again.reward_mean == trained.scorer.reward_mean
    assert again.reward_std == trained.scorer.reward_std


def test_every_text_is_tokenised_once(policy: Path, tmp_path: Path, tokenised: list[str]) -> None:
    human, synthetic, validation = (planted_pairs(16, seed=seed) for seed in (1, 2, 3))
    texts = {
        text
        for pairs in (human, synthetic, validation)
        for text in (*pairs.prompts, *pairs.chosen, *pairs.rejected)
    }
    tokenised.clear()
    changes = {"steps": 4, "batch_size": 2, "evaluations": 4, "runs": 2}
    _train(policy, tmp_path, human, synthetic=synthetic, validation=validation, **changes)
    told = Counter(tokenised)
    assert {text: told[text] for text in texts} == dict.fromkeys(texts, 1)


def test_a_row_of_a_causal_prompt_and_both_responses_trains_as_two_rows_do(
    small_encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder(small_encoder.tokenizer, 12, 8, "causal")
    start = Policy(tiny_model("llama", encoder), encoder)
    save_policy(start, tmp_path / "policy", [("the cat", "so")], {})
    losses = []
    for most in (causal.MOST_BRANCHED, 0):
        monkeypatch.setattr(causal, "MOST_BRANCHED", most)
        trained = _train(tmp_path / "policy", tmp_path / str(most), steps=10, dropout=0.3)
        losses.append([point["loss"] for point in trained.curve if point["split"] == "train"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert losses[0][0] - losses[0][-1] > 0.1
    assert len(losses[0]) == 10


def test_the_kept_weights_are_a_moving_average_that_starts_at_the_first_step(
    small_encoder: Encoder,
) -> None:
    model = RewardModel(tiny_policy(small_encoder).model, "pointwise", 0)
    loss, params = LOSSES["bradley_terry"], reward_params(average_decay=0.75)
    module = preference._PreferenceLoss(model, loss, params)
    kept = []
    for weight in (1.0, 2.0, 4.0, *[4.0] * 30, 8.0):
        torch.nn.init.constant_(model.head.weight, weight)
        module.follow()
        kept.append(float(module.kept.head.weight[0, 0]))
    # The first step, then decays of 2/11 and 3/12, while the average is short of steps …
    assert kept[1] == pytest.approx(2 / 11 * 1 + 9 / 11 * 2)
    assert kept[2] == pytest.approx(3 / 12 * kept[1] + 9 / 12 * 4)
    # … and of the asked-for 0.75 from (1 + 26) / (10 + 26) on.
    assert kept[-1] == pytest.approx(0.75 * kept[-2] + 0.25 * 8)
    without = reward_params(average_decay=0.0)
    assert preference._PreferenceLoss(model, LOSSES["bradley_terry"], without).kept is model


def test_centering_holds_the_rewards_near_zero(policy: Path, tmp_path: Path) -> None:
    free = _train(policy, tmp_path / "free", centering=0.0, steps=20)
    held = _train(policy, tmp_path / "held", centering=1.0, steps=20)
    assert abs(held.scorer.reward_mean) < abs(free.scorer.reward_mean)


def test_the_model_comes_back_ready_to_score(policy: Path, tmp_path: Path) -> None:
    trained = _train(policy, tmp_path, dropout=0.4)
    assert isinstance(trained.scorer.model, RewardModel)
    assert not trained.scorer.model.training
    start = load_start(policy)
    weights = _weights(trained)
    assert any(not torch.equal(weights[name], start[name]) for name in start)
