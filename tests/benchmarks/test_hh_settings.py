"""The benchmark's settings, read by DVC's own parser and by ours."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from benchmarks.hh.settings import SETTINGS, TARGETS, TASKS, files_of, settings_of
from tests.repo.deps import ROOT, body_of, load
from westofn.params import Params, load_params


def overridden(settings: dict[str, float | str], folder: Path) -> Params:
    """params.yaml as `dvc exp run -S` leaves it."""
    file = folder / "params.yaml"
    shutil.copy(ROOT / "params.yaml", file)
    apply_overrides(file, [f"{key}={value}" for key, value in settings.items()])
    return load_params(file)


@pytest.mark.parametrize("task", TASKS)
def test_settings_are_valid_parameters(task: str, tmp_path: Path) -> None:
    params = overridden(settings_of(task, 7, Path("/a, b/{c}/it's")), tmp_path)
    assert params.seed == 7
    assert (params.prepare.source, params.prepare.path) == ("hh", "/a, b/{c}/it's")
    assert params.prepare.files.subsets == TASKS[task]
    assert params.sft.scratch.tokenizer == "bytes"  # `words` cannot spell what people write


def test_data_are_checked_as_they_will_be_split(tmp_path: Path) -> None:
    params = overridden(settings_of("helpful", 0, tmp_path), tmp_path)
    defaults = load_params(ROOT / "params.yaml").prepare.files
    assert files_of("helpful", defaults) == params.prepare.files != defaults


def test_tasks_share_no_subset() -> None:
    subsets = [subset for task in TASKS.values() for subset in task]
    assert len(subsets) == len(set(subsets)) > 2


def test_all_reward_models_take_the_same_steps() -> None:
    base = {k.partition(".")[2]: v for k, v in SETTINGS.items() if k.startswith("base_rm.")}
    student = {k.partition(".")[2]: v for k, v in SETTINGS.items() if k.startswith("student_rm.")}
    assert base == student != {}


def test_targets_are_stages() -> None:
    _, document = load(ROOT / "dvc.yaml")
    for target in TARGETS:
        name, _, item = target.partition("@")
        stage = document["stages"][name]
        assert item in (stage["foreach"] if name == "eval_reference" else {"k1"})
        assert body_of(stage)["outs"] == ["data/eval/${key}"]
