"""The shared loop, on a module of one weight whose every step can be derived by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.small_models import OPTIMISER
from westofn.errors import ParameterError, TrainingError
from westofn.params.optimiser import OptimiserParams
from westofn.runtime import Runtime
from westofn.training.loop import Job, _arguments, run

CPU = Runtime(device="cpu")


class Slope(nn.Module):
    """Its loss falls by the same amount for every unit of the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[list[float]] = []

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.seen.append(x.tolist())
        return {"loss": -(self.weight * x).mean()}


def _job(
    folder: Path,
    evaluate: Callable[[], dict[str, float]] = lambda: {"loss": 1.0},
    rows: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0),
    **changes: Any,
) -> Job:
    settings: dict[str, Any] = {
        **OPTIMISER,
        "steps": 6,
        "batch_size": 2,
        "learning_rate": 0.1,
        "warmup_fraction": 0.0,
        "weight_decay": 0.0,
    }
    job = {"best_by": None, "evaluations": 3, "after_step": lambda: None}
    job |= {key: changes.pop(key) for key in list(changes) if key in job}
    optimiser = OptimiserParams(**(settings | changes))
    plan = np.arange(optimiser.steps * optimiser.batch_size).reshape(optimiser.steps, -1)
    return Job(
        name="slope",
        module=Slope(),
        rows=rows,
        collate=lambda some: {"x": torch.tensor(some)},
        plan=plan % len(rows),
        optimiser=optimiser,
        evaluate=evaluate,
        seed=0,
        scratch=folder,
        **job,  # type: ignore[arg-type]
    )


def test_batches_are_those_of_the_plan(tmp_path: Path) -> None:
    job = _job(tmp_path)
    run(job, CPU)
    assert isinstance(job.module, Slope)
    assert job.module.seen == [[1.0, 2.0], [3.0, 4.0]] * 3


def test_micro_batches_walk_the_same_plan(tmp_path: Path) -> None:
    job = _job(tmp_path)
    run(job, Runtime(device="cpu", micro_batch=1))
    assert isinstance(job.module, Slope)
    assert job.module.seen == [[1.0], [2.0], [3.0], [4.0]] * 3


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"),
    [(6, 3, [2, 4, 6]), (7, 3, [3, 6, 7]), (2, 10, [1, 2]), (5, 1, [5])],
)
def test_evaluations_are_spread_over_the_run_and_include_its_end(
    steps: int, evaluations: int, expected: list[int], tmp_path: Path
) -> None:
    history = run(_job(tmp_path, steps=steps, evaluations=evaluations), CPU)
    assert [row["step"] for row in history.evaluations] == expected
    assert history.best_step == steps


def _scripted(module: list[Slope], losses: list[float]) -> Callable[[], dict[str, float]]:
    """Evaluations with these losses; the weight that each one saw goes into "weight"."""
    left = iter(losses)
    return lambda: {"loss": next(left), "weight": float(module[0].weight.detach())}


def test_the_module_ends_with_the_weights_of_the_smallest_metric(tmp_path: Path) -> None:
    module: list[Slope] = []
    job = _job(tmp_path, _scripted(module, [3.0, 1.0, 2.0]), best_by="loss")
    assert isinstance(job.module, Slope)
    module.append(job.module)
    history = run(job, CPU)
    weights = [row["weight"] for row in history.evaluations]
    assert weights == sorted(set(weights))
    assert history.best_step == 4
    assert float(job.module.weight.detach()) == pytest.approx(weights[1])


def test_without_a_metric_the_last_weights_stay(tmp_path: Path) -> None:
    module: list[Slope] = []
    job = _job(tmp_path, _scripted(module, [1.0, 2.0, 3.0]))
    assert isinstance(job.module, Slope)
    module.append(job.module)
    history = run(job, CPU)
    assert float(job.module.weight.detach()) == pytest.approx(history.evaluations[-1]["weight"])
    assert history.best_step == 6


def test_the_learning_rate_warms_up_and_falls_along_a_cosine_to_zero(tmp_path: Path) -> None:
    # Adam with a constant gradient moves by the learning rate at every step. Over 10 steps, 5 of
    # them warm-up: 0, .2, .4, .6, .8 of it, then (1 + cos(π k / 5)) / 2 for k = 0 … 4.
    weights: list[float] = []
    job = _job(
        tmp_path,
        rows=(1.0,),
        steps=10,
        warmup_fraction=0.5,
        after_step=lambda: weights.append(float(job.module.weight.detach())),  # type: ignore[arg-type]
    )
    run(job, CPU)
    moves = np.diff([0.0, *weights]) / 0.1
    cosine = (1 + np.cos(np.pi * np.arange(5) / 5)) / 2
    assert moves.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, *cosine], abs=1e-4)


def test_the_function_after_a_step_is_called_once_a_step(tmp_path: Path) -> None:
    calls: list[int] = []
    micro = Runtime(device="cpu", micro_batch=1)
    run(_job(tmp_path, after_step=lambda: calls.append(1)), micro)
    assert len(calls) == 6


def test_a_loss_that_is_not_finite_ends_the_run_before_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"^slope: the loss is nan at step 1; lower reward.lear"
    ):
        run(_job(tmp_path, rows=(1.0, float("nan"))), CPU)
    assert not list(tmp_path.glob("checkpoint-*"))


def test_a_metric_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"^slope: eval_loss is inf at step 2; lower reward.lear"
    ):
        run(_job(tmp_path, lambda: {"loss": float("inf")}), CPU)


@pytest.mark.parametrize("micro_batch", [3, 4])
def test_a_micro_batch_that_does_not_divide_the_batch_is_refused(
    micro_batch: int, tmp_path: Path
) -> None:
    match = rf"^slope: batch_size 2 is not a multiple of micro_batch {micro_batch} × 1 processes"
    with pytest.raises(ParameterError, match=match):
        run(_job(tmp_path), Runtime(device="cpu", micro_batch=micro_batch))


def test_the_cpu_is_used_where_it_is_asked_for_though_there_is_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert _arguments(_job(tmp_path), CPU, every=2).use_cpu
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _arguments(_job(tmp_path), Runtime(), every=2).use_cpu
