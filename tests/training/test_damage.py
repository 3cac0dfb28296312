"""Damaged checkpoints: one line, and a result with the bytes of an uninterrupted run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.damages import DAMAGES, copied, warnings
from tests.training.test_loop import CPU, _job
from westofn.artifacts.integrity import MANIFEST, write_manifest
from westofn.errors import TrainingError
from westofn.training.loop import History, Job, run

FILES = (
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "since_logged.pt",
    "rng_state.pth",
    "trainer_state.json",
    "training_args.bin",
    MANIFEST,
)
LOSSES = {2: 2.0, 4: 1.0, 6: 3.0, 8: 4.0}  # by step: the second evaluation is the best


class Noisy(nn.Module):
    """Its gradients depend on torch's generator, whose state is part of a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": ((self.weight - torch.rand(8)) ** 2).sum() * x.mean()}


def noisy(folder: Path, goes_on_from: int = 0, stop_at: int = 0) -> Job:
    """Eight steps with four evaluations; the one at step `stop_at` ends it."""
    module, step = Noisy(), [goes_on_from]

    def count() -> None:
        step[0] += 1

    def evaluate() -> dict[str, float]:
        if step[0] == stop_at:
            raise KeyboardInterrupt
        return {"loss": LOSSES[step[0]], "sum": float(module.weight.detach().sum())}

    job = _job(folder, evaluate, steps=8, evaluations=4, best_by="loss")
    return replace(job, module=module, after_step=count)


def finish(folder: Path, goes_on_from: int) -> tuple[list[float], History]:
    """The weights and the history of a run that goes on from a step."""
    job = noisy(folder, goes_on_from)
    history = run(job, CPU)
    return job.module.get_parameter("weight").tolist(), history


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], History]:
    return finish(tmp_path_factory.mktemp("whole"), 0)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed at its last evaluation: checkpoints 4 (the best) and 6."""
    folder = tmp_path_factory.mktemp("cut")
    with pytest.raises(KeyboardInterrupt):
        run(noisy(folder, stop_at=8), CPU)
    assert {path.name for path in folder.iterdir()} == {"checkpoint-4", "checkpoint-6"}
    return folder


def test_an_undamaged_run_goes_on_from_its_last_checkpoint(
    cut: Path,
    whole: tuple[list[float], History],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert {path.name for path in (cut / "checkpoint-6").iterdir()} == set(FILES)
    folder = copied(cut, tmp_path / "part")
    assert finish(folder, 6) == whole
    assert warnings(capsys) == []
    assert whole[1].best_step == 4


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_last_checkpoint_costs_one_line_and_the_steps_since_the_one_before(
    name: str,
    damage: str,
    cut: Path,
    whole: tuple[list[float], History],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = copied(cut, tmp_path / "part")
    DAMAGES[damage](folder / "checkpoint-6" / name)
    assert finish(folder, 4) == whole
    (line,) = warnings(capsys)
    assert line.startswith("WARNING: slope: damaged and removed: ")
    assert f"checkpoint-6/{name}:" in line
    assert line.endswith("; training goes on from step 4")


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_the_best_checkpoint_training_starts_again(
    damage: str,
    cut: Path,
    whole: tuple[list[float], History],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = copied(cut, tmp_path / "part")
    DAMAGES[damage](folder / "checkpoint-4" / "model.safetensors")
    assert finish(folder, 0) == whole
    (line,) = warnings(capsys)
    assert "checkpoint-4/model.safetensors: " in line
    assert line.endswith("; training starts again")


def test_two_damaged_checkpoints_are_one_line(
    cut: Path,
    whole: tuple[list[float], History],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = copied(cut, tmp_path / "part")
    for step in (4, 6):
        DAMAGES["a flipped bit"](folder / f"checkpoint-{step}" / "optimizer.pt")
    assert finish(folder, 0) == whole
    (line,) = warnings(capsys)
    assert line.endswith("; training starts again")


def test_a_file_in_place_of_a_checkpoint_is_removed(
    cut: Path,
    whole: tuple[list[float], History],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = copied(cut, tmp_path / "part")
    shutil.rmtree(folder / "checkpoint-6")
    (folder / "checkpoint-6").write_text("")
    assert finish(folder, 4) == whole
    assert len(warnings(capsys)) == 1


def test_a_best_checkpoint_that_is_damaged_during_training_ends_the_run_in_one_line(
    cut: Path, tmp_path: Path
) -> None:
    folder = copied(cut, tmp_path / "part")
    job = noisy(folder, 6)

    def damages() -> dict[str, float]:
        DAMAGES["a flipped bit"](folder / "checkpoint-4" / "model.safetensors")
        return {"loss": 4.0}

    with pytest.raises(TrainingError, match=r"^slope: the best checkpoint was damaged .*again"):
        run(replace(job, evaluate=damages), CPU)


def test_a_manifest_names_every_file_but_itself(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    write_manifest(tmp_path)
    write_manifest(tmp_path)  # the one before is not a file of the folder
    assert (tmp_path / MANIFEST).read_text().count("e3b0c44298fc1c149afbf4c8996fb924") == 1
