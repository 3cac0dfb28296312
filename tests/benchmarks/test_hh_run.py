"""From data to records: what is refused, what is read of an experiment, and when it is written."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from benchmarks.hh import __main__ as command
from benchmarks.hh import run as module
from benchmarks.hh.records import MODELS, collect
from benchmarks.hh.run import run_benchmark
from benchmarks.hh.settings import TARGETS
from tests.benchmarks.pairs import polite, preferences, prompts
from westofn.experiments import Experiment, ExperimentError

TABLE = preferences([*polite("train", 8), *polite("validation", 2), *polite("test", 4)])


def parquet(frame: pl.DataFrame) -> bytes:
    handle = io.BytesIO()
    frame.write_parquet(handle)
    return handle.getvalue()


FILES: Mapping[str, bytes] = {
    "data/prepared/preferences.parquet": parquet(TABLE),
    "data/prepared/prompts.parquet": parquet(prompts(["train please 0"])),
    "data/prepared/counts.json": b'{"rows_in": 14}',
    **{f"data/eval/{arm}/metrics.json": b'{"accuracy": 0.6, "judge": "x"}' for arm in MODELS},
    **{
        f"{folder}/card.json": b'{"training": {"best_step": 20, "validation_accuracy": 0.1234567}}'
        for folder in MODELS.values()
    },
}


def read(path: str) -> bytes:
    return FILES[path]


def test_a_run_holds_models_and_baselines_of_the_same_pairs() -> None:
    found = collect("helpful", 3, read)
    assert (found.task, found.seed, found.counts) == ("helpful", 3, {"rows_in": 14})
    expected = {"accuracy": 0.6, "best_step": 20, "validation_accuracy": 0.12346}
    assert [found.arms[arm] for arm in MODELS] == [expected] * len(MODELS)
    # The word decides every test pair, and both responses have three words: ties count half.
    assert found.arms["words_hf100"]["accuracy"] == 1.0
    assert found.arms["longest"] == {
        "accuracy": 0.5, "accuracy_low": 0.5, "accuracy_high": 0.5
    }  # fmt: skip


def test_records_are_written_after_every_run_by_task_and_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, seen, removed = tmp_path / "hh.json", [], []

    def backwards(
        experiments: Sequence[Experiment], jobs: int, finished: Callable[[Experiment, str], None]
    ) -> None:
        assert jobs == 2
        assert {experiment.targets for experiment in experiments} == {TARGETS}
        for experiment in reversed(experiments):
            finished(experiment, "revision")
            runs = json.loads(out.read_text())["runs"]
            seen.append([(run["task"], run["seed"]) for run in runs])

    monkeypatch.setattr(module, "run_all", backwards)
    monkeypatch.setattr(module, "remove_experiments", removed.extend)
    monkeypatch.setattr(module, "read_output", lambda revision, path: read(path))
    console = Console(file=io.StringIO())
    runs = run_benchmark(("helpful", "harmless"), range(2), tmp_path, 2, out, console)
    assert seen[0] == [("harmless", 1)]
    assert seen[1] == [("helpful", 1), ("harmless", 1)]
    order = [("helpful", 0), ("helpful", 1), ("harmless", 0), ("harmless", 1)]
    assert seen[-1] == [(run.task, run.seed) for run in runs] == order
    assert sorted(removed) == ["hh-harmless-0", "hh-harmless-1", "hh-helpful-0", "hh-helpful-1"]


def test_what_failed_is_said_even_where_experiments_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fails(*_: object) -> None:
        raise ExperimentError("stage sft failed")

    def removes(names: Sequence[str]) -> None:
        tried.append(sorted(names))
        raise ExperimentError("locked")

    monkeypatch.setattr(module, "run_all", fails)
    monkeypatch.setattr(module, "remove_experiments", removes)
    console = Console(file=io.StringIO())
    with pytest.raises(ExperimentError, match="stage sft failed"):
        run_benchmark(("helpful",), range(1), tmp_path, 1, tmp_path / "hh.json", console)
    assert tried == [["hh-helpful-0"]]


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path) -> str:
    """The one line with which the command ends, with exit code 2."""
    monkeypatch.setattr(sys, "argv", ["hh", "--data", str(data), "--seeds", "1"])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_missing_data_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = said(monkeypatch, capsys, tmp_path / "nowhere")
    assert "--data" in line
    assert "nowhere: no such file or folder; give preferences" in line


def test_data_without_a_tasks_subset_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "subset": "helpful-online"}
    (tmp_path / "hh.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.setattr(command, "run_benchmark", lambda *_: pytest.fail("it ran"))
    line = said(monkeypatch, capsys, tmp_path)
    assert "--task helpful:" in line
    assert "no row has subset 'helpful-base'" in line
