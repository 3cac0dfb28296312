"""Who follows a run: DVCLive's files, and the reports that transformers' Trainer knows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.integrations import integration_utils

from tests.training.test_curves import slope_job
from westofn.errors import ParameterError
from westofn.runtime import Runtime
from westofn.training import reports
from westofn.training.live import LiveFiles
from westofn.training.loop import run
from westofn.training.reports import Watch, watchers

FIRST = {"loss": 0.5, "grad_norm": 2.0, "step": 1}
SECOND = {"eval_loss": 0.75, "eval_accuracy": 0.5, "step": 1}


def _watch(tmp_path: Path, runtime: Runtime, live: Path | None = None) -> Watch:
    return Watch(runtime, "rlhf", live, scratch=tmp_path, model=None, steps=4, on_cpu=True)


def _latest(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "latest" / "metrics.json").read_text())
    return loaded


def _table(folder: Path, name: str) -> list[str]:
    return (folder / "plots" / "metrics" / f"{name}.tsv").read_text().splitlines()


def test_dvclive_s_files_hold_the_last_measures_and_their_course(tmp_path: Path) -> None:
    live = tmp_path / "live"
    watch = _watch(tmp_path, Runtime(), live)
    watch.begin([])
    assert _latest(live) == {"model": "rlhf"}
    watch.follow([FIRST, SECOND])
    watch.follow([FIRST, SECOND, {"loss": 0.25, "step": 2}])
    watch.end()
    assert _latest(live) == {
        "model": "rlhf",
        "step": 2,
        "train": {"loss": 0.25},
        "validation": {"loss": 0.75, "accuracy": 0.5},
    }
    assert _table(live, "train/loss") == ["step\tloss", "1\t0.5", "2\t0.25"]
    assert _table(live, "validation/accuracy") == ["step\taccuracy", "1\t0.5"]


def test_a_run_that_goes_on_shows_what_it_logged_and_clears_what_another_left(
    tmp_path: Path,
) -> None:
    other = _watch(tmp_path, Runtime(), tmp_path)
    other.begin([])
    other.follow([{"eval_margin": 1.0, "step": 1}, {"loss": 9.0, "step": 2}])
    again = _watch(tmp_path, Runtime(), tmp_path)
    again.begin([FIRST])
    again.follow([FIRST, {"loss": 0.25, "step": 2}])
    assert _table(tmp_path, "train/loss") == ["step\tloss", "1\t0.5", "2\t0.25"]
    assert not (tmp_path / "plots" / "metrics" / "validation" / "margin.tsv").exists()
    assert "validation" not in _latest(tmp_path)


def test_files_that_git_knows_stay(tmp_path: Path) -> None:
    known = tmp_path / "plots" / "metrics" / "empty.json"
    known.parent.mkdir(parents=True)
    known.write_text("{}\n")
    _watch(tmp_path, Runtime(), tmp_path).begin([])
    assert known.exists()


def test_a_folder_that_cannot_be_written_is_told_once_and_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "live").write_text("a file")
    watch = _watch(tmp_path, Runtime(), tmp_path / "live")
    watch.begin([])
    watch.follow([FIRST, SECOND])
    watch.end()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "nothing can follow this run live" in lines[0]
    assert lines[0].endswith("training goes on")


def test_dvc_s_mark_of_a_finished_step_goes_when_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    mark = tmp_path / ".dvc" / "tmp" / "exps" / "run" / "DVCLIVE_STEP_COMPLETED"
    watch = _watch(tmp_path, Runtime(), tmp_path)
    watch.begin([])
    watch.follow([FIRST])
    assert json.loads(mark.read_text())["step"] == 1
    watch.end()
    assert not mark.exists()


def test_a_second_process_writes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert watchers(Runtime(), "sft", tmp_path) == []
    monkeypatch.setenv("RANK", "0")
    assert [type(one) for one in watchers(Runtime(), "sft", tmp_path)] == [LiveFiles]


class Planted(TrainerCallback):
    """An integration that keeps what it is told."""

    told: list[tuple[str, Any]]

    def __init__(self) -> None:
        type(self).told = []

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        self.told.append(("begin", args.run_name))

    def on_log(self, args: Any, state: Any, control: TrainerControl, logs: Any, **_: Any) -> None:
        self.told.append((f"step {state.global_step}", dict(logs)))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.told.append(("end", state.max_steps))


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> type[Planted]:
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "planted", Planted)
    return Planted


def test_rl_tells_an_integration_what_trainer_would(tmp_path: Path, planted: type[Planted]) -> None:
    watch = _watch(tmp_path, Runtime(report_to=("planted",), run_name="seed 3"))
    watch.begin([])
    watch.follow([FIRST])
    watch.end()
    assert planted.told == [
        ("begin", "seed 3 rlhf"),
        ("step 1", {"loss": 0.5, "grad_norm": 2.0}),
        ("end", 4),
    ]


def test_trainer_reports_to_what_is_asked_for_and_writes_live(
    tmp_path: Path, planted: type[Planted]
) -> None:
    job = replace(slope_job(tmp_path / "scratch"), live=tmp_path / "live")
    run(job, Runtime(device="cpu", report_to=("planted",), run_name="a"))
    events = [event for event, _ in planted.told]
    assert planted.told[0] == ("begin", "a halving")
    # Steps 1 … 6, of which 3 and 6 have an evaluation, and the Trainer's summary.
    steps = [1, 2, 3, 3, 4, 5, 6, 6, 6]
    assert events[1:-1] == [f"step {step}" for step in steps]
    assert {"loss", "grad_norm", "learning_rate", "margin"} <= planted.told[1][1].keys()
    latest = _latest(tmp_path / "live")
    assert (latest["model"], latest["step"]) == ("halving", 6)
    assert len(_table(tmp_path / "live", "train/margin")) == 1 + 6
    assert len(_table(tmp_path / "live", "validation/loss")) == 1 + 2


def test_an_unknown_name_is_refused_with_those_that_trainer_knows() -> None:
    with pytest.raises(ParameterError) as caught:
        watchers(Runtime(report_to=("tensorbord",)), "sft", None)
    text = str(caught.value)
    assert "report_to names 'tensorbord', which transformers' Trainer does not know" in text
    assert {"tensorboard", "wandb", "mlflow", "trackio"} <= set(
        text.partition("known: ")[2].split(", ")
    )
    assert "\n" not in text


@pytest.mark.parametrize("kind", ["wandb", "mlflow", "tensorboard", "trackio"])
def test_an_integration_that_is_not_installed_is_refused_with_what_to_install(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integration_utils, f"is_{kind}_available", lambda: False)
    match = rf"^runtime\.toml: report_to names {kind}, which is not installed: .*install"
    with pytest.raises(ParameterError, match=match) as caught:
        watchers(Runtime(report_to=(kind,)), "sft", None)
    assert kind in str(caught.value).lower()
    assert "\n" not in str(caught.value)


def test_dvclive_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="names dvclive, whose files every stage"):
        watchers(Runtime(report_to=("dvclive",)), "sft", None)


def test_a_reporter_that_keeps_its_run_open_is_ended(
    tmp_path: Path, planted: type[Planted], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    class Module:
        @staticmethod
        def finish() -> None:
            ended.append("finished")

    monkeypatch.setitem(reports.sys.modules, "wandb", Module)  # type: ignore[attr-defined]
    reports.finish(Runtime(report_to=("planted",)))
    assert ended == []
    reports.finish(Runtime(report_to=("wandb",)))
    assert ended == ["finished"]
