"""Supervised training: it learns, it repeats itself to the byte, and it goes on where it was."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.small_models import PROMPTS, VOCABULARY, sft_params
from westofn.errors import ModelError, TrainingError
from westofn.models.policy import Likelihood, Policy, log_likelihood, save_policy
from westofn.params.sft import SftParams
from westofn.runtime import Runtime
from westofn.training import curves, sft
from westofn.training.loop import _Progress
from westofn.training.sft import Examples, SftResult, build_policy, train_sft

CPU = Runtime(device="cpu")


def _examples(count: int, start: int = 0) -> Examples:
    """The response repeats the prompt's last word, one to four times: lengths differ."""
    prompts, responses = [], []
    for row in range(start, start + count):
        words = [VOCABULARY[(row * k + k) % 16] for k in (1, 3, 5)]
        prompts.append(" ".join(words))
        responses.append(" ".join([words[-1]] * (1 + row % 4)))
    return Examples(prompts, responses)


TRAIN, VALIDATION = _examples(40), _examples(12, start=100)


def _train(
    folder: Path, runtime: Runtime = CPU, seed: int = 0, train: Examples = TRAIN, **changes: Any
) -> SftResult:
    return train_sft(
        train, VALIDATION, sft_params(**changes), seed=seed, scratch=folder, runtime=runtime
    )


def _weights(policy: Policy) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in policy.model.state_dict().items()}


def _equal(a: Policy, b: Policy) -> bool:
    first, second = _weights(a), _weights(b)
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def _dropout(rate: float) -> dict[str, Any]:
    scratch = sft_params().scratch.model_dump() | {"dropout": rate}
    return {"scratch": type(sft_params().scratch)(**scratch)}


def test_training_lowers_the_loss_below_that_of_guessing(tmp_path: Path) -> None:
    result = _train(tmp_path, steps=60, batch_size=16)
    start = build_policy(sft_params(), [*TRAIN.prompts, *TRAIN.responses], seed=0)
    before = log_likelihood(start, VALIDATION.prompts, VALIDATION.responses)
    loss_before = -float(before.logprob.sum() / before.n_tokens.sum())
    loss = float(result.facts["validation_loss_per_token"])
    # Of some 33 tokens a guess costs log 33 = 3.5 nats.
    assert loss_before > math.log(33) - 0.5
    assert loss < 2.0
    after = log_likelihood(result.policy, VALIDATION.prompts, VALIDATION.responses)
    assert loss == pytest.approx(-float(after.logprob.sum() / after.n_tokens.sum()), abs=1e-4)


def test_of_many_validation_examples_a_sample_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str]] = []

    def noted(policy: Policy, prompts: list[str], responses: list[str]) -> Likelihood:
        read.append(prompts)
        return log_likelihood(policy, prompts, responses)

    monkeypatch.setattr(sft, "log_likelihood", noted)
    results = [
        _train(tmp_path / str(index), seed=seed, validation_rows=5)
        for index, seed in enumerate((0, 0, 1))
    ]
    facts = results[0].facts
    assert (facts["validation_pairs"], facts["validation_not_read"]) == (5, 7)
    evaluations = len(read) // 3
    assert evaluations == 3  # of five that are asked for, in six steps
    assert read[0] == read[evaluations] != read[-1]
    assert set(read[0]) < set(VALIDATION.prompts)
    assert read[0] != VALIDATION.prompts[:5]


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_micro_batches_train_as_the_whole_batch_does(micro_batch: int, tmp_path: Path) -> None:
    # Responses differ in length: a mean of the micro-batches' means would be another loss.
    changes = {"learning_rate": 1e-4}
    whole = _train(tmp_path / "whole", **changes)
    parts = _train(tmp_path / "parts", Runtime(device="cpu", micro_batch=micro_batch), **changes)
    start = _weights(build_policy(sft_params(), [*TRAIN.prompts, *TRAIN.responses], seed=0))
    moved = 0.0
    for name, weight in _weights(parts.policy).items():
        torch.testing.assert_close(weight, _weights(whole.policy)[name], atol=1e-5, rtol=1e-5)
        moved = max(moved, float((weight - start[name]).abs().max()))
    assert moved > 3e-4


def test_recomputed_activations_train_the_same_model(tmp_path: Path) -> None:
    changes = {"learning_rate": 1e-4, **_dropout(0.2)}
    kept = _train(tmp_path / "kept", **changes)
    runtime = Runtime(device="cpu", micro_batch=4, gradient_checkpointing=True)
    divided = Runtime(device="cpu", micro_batch=4)
    parts = _train(tmp_path / "parts", divided, **changes)
    again = _train(tmp_path / "again", runtime, **changes)
    for name, weight in _weights(again.policy).items():  # masks are a micro-batch's
        torch.testing.assert_close(weight, _weights(parts.policy)[name], atol=1e-6, rtol=1e-5)
    assert not _equal(kept.policy, again.policy)
    assert not again.policy.model.is_activation_checkpointing


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"sft: batch_size 8 is not a multiple of micro_batch 3"):
        _train(tmp_path, Runtime(device="cpu", micro_batch=3))


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    canaries = [(PROMPTS[0], "so")]
    for name in ("a", "b"):
        result = _train(tmp_path / f"scratch-{name}", **_dropout(0.1))
        save_policy(result.policy, tmp_path / name, canaries, result.facts)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert {"model.safetensors", "card.json", "tokenizer.json"} <= set(files)
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    other = _train(tmp_path / "scratch-c", seed=1, **_dropout(0.1))
    result = _train(tmp_path / "scratch-a", **_dropout(0.1))
    assert not _equal(other.policy, result.policy)


class PulledPlugError(Exception):
    """The run ends here."""


@contextmanager
def _interrupted(at: int) -> Iterator[None]:
    """Every run that reaches this step ends there."""
    original = _Progress.on_step_end

    def on_step_end(self: _Progress, args: Any, state: Any, control: Any, **options: Any) -> None:
        original(self, args, state, control, **options)
        if state.global_step == at:
            raise PulledPlugError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Progress, "on_step_end", on_step_end)
        yield


@pytest.mark.parametrize("every_step", [False, True])
def test_a_run_that_was_interrupted_twice_ends_as_one_that_was_not(
    every_step: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    save_at_every_step: Callable[[], None],
) -> None:
    monkeypatch.setattr(curves, "POINTS", 3)  # so that checkpoints lie between two records
    changes: dict[str, Any] = {
        "steps": 10,
        **_dropout(0.1),
    }  # evaluated and saved at steps 2, 4, … 10
    if every_step:
        changes["evaluations"] = 1
    whole = _train(tmp_path / "whole", **changes)
    if every_step:
        save_at_every_step()
    for at in (3, 7):
        with _interrupted(at), pytest.raises(PulledPlugError):
            _train(tmp_path / "cut", **changes)
        assert (tmp_path / "cut" / f"checkpoint-{at - 1}").is_dir()
    resumed = _train(tmp_path / "cut", **changes)
    assert _equal(resumed.policy, whole.policy)
    assert resumed.facts == whole.facts
    assert resumed.curve == whole.curve


def test_a_checkpoint_that_a_kill_cut_short_is_passed_over(
    tmp_path: Path,
) -> None:
    whole = _train(tmp_path / "whole", steps=10)
    with _interrupted(5), pytest.raises(PulledPlugError):
        _train(tmp_path / "cut", steps=10)
    for left in ("nothing", "half the weights", "half the state"):
        folder = tmp_path / left
        shutil.copytree(tmp_path / "cut", folder)
        broken = folder / "checkpoint-6"
        broken.mkdir()
        if left != "nothing":
            (broken / "model.safetensors").write_bytes(b"half")
        if left == "half the state":
            (broken / "trainer_state.json").write_text('{"global_step": 6, "log')
        assert _equal(_train(folder, steps=10).policy, whole.policy), left


def test_a_finished_run_that_was_not_collected_is_taken_up_at_its_end(tmp_path: Path) -> None:
    first = _train(tmp_path)
    again = _train(tmp_path)
    assert _equal(first.policy, again.policy)
    assert first.facts == again.facts


def test_responses_that_are_too_long_are_dropped_and_counted(tmp_path: Path) -> None:
    long = Examples([*TRAIN.prompts, *["the cat"] * 3], [*TRAIN.responses, *["so" + " so" * 8] * 3])
    result = _train(tmp_path, train=long, steps=1)
    assert (result.facts["train_examples"], result.facts["dropped_too_long"]) == (40, 3)
    assert result.facts["response_tokens_for_95_percent"] == 9  # of 43 responses three need it
    assert result.facts["prompts_trimmed"] == 0


def test_no_response_that_fits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="none of 40 responses fits max_response_tokens 2"):
        _train(tmp_path, train=Examples(TRAIN.prompts, ["a cat sat"] * 40), max_response_tokens=2)


@pytest.mark.parametrize(("steps", "rate"), [(1, 1e38), (10, 1e30)])
def test_a_loss_that_is_not_finite_ends_the_run(steps: int, rate: float, tmp_path: Path) -> None:
    # In one step only the weights are spoilt, which the evaluation sees.
    with pytest.raises(TrainingError, match=r"^sft: .* is nan at step .*lower sft\.learning_rate"):
        _train(tmp_path, learning_rate=rate, steps=steps)
    assert not list(tmp_path.glob("checkpoint-*"))


def test_a_model_that_is_nowhere_is_refused_in_one_line(tmp_path: Path) -> None:
    params = SftParams(**(sft_params().model_dump() | {"model": str(tmp_path / "none")}))
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        build_policy(params, [], seed=0)
    assert "\n" not in str(caught.value)


def test_a_pretrained_model_starts_from_its_own_weights_and_tokenizer(
    small_policy: Policy, tmp_path: Path
) -> None:
    save_policy(small_policy, tmp_path, [(PROMPTS[0], "so")], {})
    params = SftParams(**(sft_params().model_dump() | {"model": str(tmp_path)}))
    policy = build_policy(params, [], seed=0)
    assert _equal(policy, small_policy)
    assert policy.encoder.template.max_prompt_tokens == 12
    assert policy.encoder.prompts(PROMPTS[:2]) == small_policy.encoder.prompts(PROMPTS[:2])
