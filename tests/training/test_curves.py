"""The curve of a run: when it is logged, what it holds, and that a break leaves no trace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.small_models import OPTIMISER
from westofn.artifacts.curve import COLUMNS, CURVE, Point, read_curve, write_curve
from westofn.errors import DataError
from westofn.params.optimiser import OptimiserParams
from westofn.runtime import Runtime
from westofn.training.curves import curve_of, logged_steps
from westofn.training.loop import Job, run

CPU = Runtime(device="cpu")


class Halving(nn.Module):
    """Its loss is the weight, whose gradient is 1; it measures the rows that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(8.0))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": self.weight + 0 * x.sum(), "margin": x}


def slope_job(folder: Path, *, steps: int = 6, evaluations: int = 2, kill_at: int = 0) -> Job:
    module, seen = Halving(), [0]

    def evaluate() -> dict[str, float]:
        seen[0] += 1
        if seen[0] == kill_at:
            raise KeyboardInterrupt
        return {"loss": float(module.weight.detach())}

    return Job(
        name="halving",
        module=module,
        rows=[1.0, 2.0, 3.0, 4.0],
        collate=lambda rows: {"x": torch.tensor(rows)},
        plan=np.arange(2 * steps).reshape(steps, 2) % 4,
        optimiser=OptimiserParams.model_validate(
            {
                **OPTIMISER,
                "steps": steps,
                "batch_size": 2,
                "learning_rate": 0.5,
                "warmup_fraction": 0.0,
                "weight_decay": 0.0,
            }
        ),
        evaluate=evaluate,
        best_by=None,
        evaluations=evaluations,
        seed=0,
        scratch=folder,
    )


def _of(split: str, curve: list[Point]) -> list[Point]:
    return [point for point in curve if point["split"] == split]


def test_a_short_run_logs_every_step_and_evaluates_where_it_did(tmp_path: Path) -> None:
    curve = run(slope_job(tmp_path), CPU).curve
    assert [point["step"] for point in _of("train", curve)] == [1, 2, 3, 4, 5, 6]
    assert [point["step"] for point in _of("validation", curve)] == [3, 6]


def test_points_hold_what_the_step_can_be_derived_to_have(tmp_path: Path) -> None:
    # Adam moves by the learning rate under a constant gradient: 0.5 · (1 + cos(π k / 6)) / 2.
    curve = _of("train", run(slope_job(tmp_path), CPU).curve)
    rates = 0.5 * (1 + np.cos(np.pi * np.arange(6) / 6)) / 2
    losses = 8.0 - np.concatenate([[0.0], rates.cumsum()[:-1]])
    assert [point["learning_rate"] for point in curve] == pytest.approx(rates.tolist())
    assert [point["loss"] for point in curve] == pytest.approx(losses.tolist(), abs=1e-4)
    assert [point["grad_norm"] for point in curve] == pytest.approx([1.0] * 6)
    # Rows 1, 2 and rows 3, 4 take turns.
    assert [point["margin"] for point in curve] == pytest.approx([1.5, 3.5] * 3)


def test_micro_batches_are_measured_as_one_batch(tmp_path: Path) -> None:
    curve = run(slope_job(tmp_path), Runtime(device="cpu", micro_batch=1)).curve
    assert [point["margin"] for point in _of("train", curve)] == pytest.approx([1.5, 3.5] * 3)


def test_between_two_points_the_loss_and_measures_are_means(tmp_path: Path) -> None:
    # 201 steps: a point every third, so with 1.5 and 3.5 in turn 6.5 / 3, then 8.5 / 3.
    curve = _of("train", run(slope_job(tmp_path, steps=201, evaluations=1), CPU).curve)
    assert [point["step"] for point in curve] == list(range(3, 202, 3))
    assert [point["margin"] for point in curve[:2]] == pytest.approx([6.5 / 3, 8.5 / 3])


@pytest.mark.parametrize(
    ("steps", "every", "count"), [(1, 1, 1), (100, 25, 100), (101, 25, 53), (10000, 2500, 100)]
)
def test_a_curve_has_about_a_hundred_points_at_most(steps: int, every: int, count: int) -> None:
    logged = logged_steps(steps, every)
    assert len(logged) == count
    assert {*range(every, steps, every), steps} <= set(logged)


def test_a_resumed_run_has_the_curve_of_an_uninterrupted_one(tmp_path: Path) -> None:
    # 250 steps with points every third, so that evaluations (every 84) need not fall on one.
    sizes = {"steps": 250, "evaluations": 3}
    whole = run(slope_job(tmp_path / "whole", **sizes), CPU).curve
    with pytest.raises(KeyboardInterrupt):
        run(slope_job(tmp_path / "part", **sizes, kill_at=3), CPU)
    assert {path.name for path in (tmp_path / "part").iterdir()} == {
        "checkpoint-84",
        "checkpoint-168",
    }
    resumed = run(slope_job(tmp_path / "part", **sizes), CPU).curve
    assert resumed == whole


def test_the_summary_of_the_trainer_is_no_point() -> None:
    assert curve_of([{"train_runtime": 1.0, "train_loss": 2.0, "step": 3}]) == []


def test_every_record_of_a_file_has_every_key_and_a_line(tmp_path: Path) -> None:
    write_curve([{"split": "train", "step": 1, "loss": 1 / 3}, {"split": "x", "run": 2}], tmp_path)
    text = (tmp_path / CURVE).read_text()
    records = json.loads(text)
    assert [tuple(record) for record in records] == [(*COLUMNS, "run")] * 2
    assert records[0]["loss"] == 0.333333
    assert records[1]["loss"] is None
    assert len(text.splitlines()) == 2 + 2


def test_what_was_not_measured_is_absent_when_read(tmp_path: Path) -> None:
    point = {"split": "train", "step": 1, "loss": 0.5}
    write_curve([point], tmp_path)
    assert read_curve(tmp_path) == [point]
    assert read_curve(tmp_path / "none") == []


def test_an_infinite_value_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"curve\.json: not written: a value is inf"):
        write_curve([{"split": "train", "step": 1, "loss": float("inf")}], tmp_path)
    assert not (tmp_path / CURVE).exists()


@pytest.mark.parametrize(
    ("text", "needed"),
    [("{}x", ":1: not JSON"), ("[1]", ": needs a list of JSON"), ("3", ": needs a list of JSON")],
)
def test_a_file_that_is_no_curve_is_refused(text: str, needed: str, tmp_path: Path) -> None:
    (tmp_path / CURVE).write_text(text)
    with pytest.raises(DataError, match=rf"curve\.json{needed}"):
        read_curve(tmp_path)
