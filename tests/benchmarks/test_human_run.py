"""Every task at a tiny size on made-up rows: records, resumption, page, errors."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmarks.human import __main__ as command
from benchmarks.human import run as module
from benchmarks.human.cells import ARMS
from benchmarks.human.corpus import Features
from benchmarks.human.page import human_data_page
from benchmarks.human.records import Run, finished_runs, run_of, write_runs
from benchmarks.human.run import Benchmark
from benchmarks.human.settings import (
    ALL_TASKS,
    CONDITIONS,
    PRETRAINED_TASKS,
    TASKS,
    check_data,
    tasks_of,
)
from tests.benchmarks.human_rows import tiny, write_human_data
from westofn.errors import DataError, ParameterError
from westofn.params.whole import load_params


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("human")
    write_human_data(folder)
    return folder


@pytest.fixture(scope="module")
def benchmark(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return Benchmark(load_params(), data, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def runs(benchmark: Benchmark) -> Mapping[str, Run]:
    return {name: benchmark.run(name, tiny(name), 0) for name in TASKS}


def test_every_cell_has_every_arm(runs: Mapping[str, Run]) -> None:
    assert set(runs) == set(TASKS)
    for name, run in runs.items():
        assert [cell.labels for cell in run.cells][:2] == [8, 16]
        for cell in run.cells:
            assert set(cell.heads) == set(ARMS)
            assert all(0 <= float(record["accuracy"]) <= 1 for record in cell.heads.values())
        trained = [cell for cell in run.cells if cell.networks]
        assert len(trained) == bool(TASKS[name].network_labels)
        for cell in trained:
            assert set(cell.networks) == {"hf50", "hf100", "west"}


def test_pairs_of_some_systems_are_measured_where_the_task_asks(runs: Mapping[str, Run]) -> None:
    found = [cell.condition for cell in runs["e2e-quality"].cells]
    assert found == ["all", "all", *CONDITIONS]


def test_hf100_has_twice_the_pairs_of_hf50(runs: Mapping[str, Run]) -> None:
    for run in runs.values():
        half, full = run.cells[0].pairs
        assert (half, full) == (8, 16)


def test_human_pools_have_right_labels_where_the_longer_text_wins(runs: Mapping[str, Run]) -> None:
    points = runs["ukp-convarg"].gold["longest"]
    assert [point["n"] for point in points] == ["2", "4", "8", "all"]
    # People prefer the longer text of every judged pair, and no two texts have equal lengths.
    assert [point["right"] for point in points if "right" in point]
    assert {point["right"] for point in points if "right" in point} == {1.0}
    assert runs["e2e-quality"].gold == {}


def test_tasks_with_the_same_demonstrations_share_a_policy(
    runs: Mapping[str, Run], benchmark: Benchmark
) -> None:
    assert {"e2e-quality", "e2e-naturalness"} <= set(runs)
    # Five tasks, of which two read the same references and prompts.
    assert len(list(benchmark.folder.glob("policy-*/policy"))) == len(TASKS) - 1


def test_what_was_finished_is_read_and_not_made_again(
    runs: Mapping[str, Run], benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(module, "measure_task", refuse)
    name = "hh-helpful"
    assert benchmark.run(name, tiny(name), 0) == runs[name]
    with pytest.raises(AssertionError, match="made again"):
        benchmark.run(name, tiny("hh-harmless"), 0)  # other settings


def test_features_stay_for_a_forecast(runs: Mapping[str, Run], benchmark: Benchmark) -> None:
    (folder,) = benchmark.folder.glob("e2e-quality-0-*")
    features = Features.load(folder / "features.safetensors")
    assert features.pools.shape == (6, 8, 16)
    assert len(features.train) == runs["e2e-quality"].counts["pairs_train"]
    # Divided by the deviation over the texts of train pairs, so differences have some size near 1.
    assert 0.1 < float(features.train.std()) < 10


def test_the_page_has_a_section_a_task(runs: Mapping[str, Run]) -> None:
    page = human_data_page(list(runs.values()))
    assert [row[3:] for row in page.splitlines() if row.startswith("## ")][2:] == [
        task.title for task in TASKS.values()
    ]
    assert "### Human pairs of some systems" in page
    assert "### Right labels against N" in page
    assert "±" not in page[page.index("## E2E, quality") :]


def test_the_command_writes_records_and_page(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "tasks_of", lambda names: {names: tiny(names)})
    out, page = tmp_path / "human.json", tmp_path / "page.md"
    options = ["--data", str(data), "--task", "hh-harmless", "--seeds", "1", "--first-seed", "7"]
    places = ["--folder", str(tmp_path / "runs"), "--out", str(out), "--page", str(page)]
    monkeypatch.setattr(sys, "argv", ["benchmarks.human", *options, *places])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 0
    (run,) = map(run_of, json.loads(out.read_text("utf-8"))["runs"])
    assert (run.task, run.model, run.seed) == ("hh-harmless", "scratch", 7)
    assert "--seeds 1 --first-seed 7 --task hh-harmless" in page.read_text("utf-8")
    assert str(tmp_path) not in out.read_text("utf-8")


def test_a_missing_folder_is_named_with_its_task(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"task ukp-convarg needs ukp-convarg/pairs.jsonl.gz"):
        module_check(tmp_path, "ukp-convarg,hh-helpful")


def test_a_task_that_is_left_out_needs_no_folder(data: Path, tmp_path: Path) -> None:
    (tmp_path / "hh-rlhf-8k").symlink_to(data / "hh-rlhf-8k")
    module_check(tmp_path, "hh-helpful")
    with pytest.raises(DataError, match="task e2e-quality"):
        module_check(tmp_path, "all")


def test_a_task_whose_model_is_not_there_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"hh-helpful-minilm needs models/minilm.*make models"):
        module_check(data, "hh-helpful-minilm")
    (tmp_path / "models/minilm").mkdir(parents=True)
    module_check(data, "hh-helpful-minilm")


def module_check(folder: Path, names: str) -> None:
    check_data(tasks_of(names), folder)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(
        ParameterError, match="helpful is no task; needs all, pretrained, or some of e2e"
    ):
        tasks_of("helpful")


def test_progress_is_told_and_records_are_sorted(
    data: Path, benchmark: Benchmark, runs: Mapping[str, Run], tmp_path: Path
) -> None:
    assert runs
    names = ("hh-harmless", "e2e-quality")
    tasks = {name: tiny(name) for name in TASKS if name in names}
    out = tmp_path / "human.json"
    console = Console(file=io.StringIO(), width=200)
    found = module.run_benchmark(benchmark, tasks, [0], 1, out, console)
    assert [run.task for run in found] == ["e2e-quality", "hh-harmless"]
    assert [run["task"] for run in json.loads(out.read_text())["runs"]] == [
        "e2e-quality",
        "hh-harmless",
    ]


def test_finished_runs_are_read_from_the_records(
    data: Path, benchmark: Benchmark, runs: Mapping[str, Run], tmp_path: Path
) -> None:
    """A fresh clone has the records and no folder of runs; other data are other runs."""
    tasks, out = {"hh-harmless": tiny("hh-harmless")}, tmp_path / "human.json"
    write_runs([runs["hh-harmless"]], {"hh-harmless": benchmark.settings(*tasks.values())}, out)
    fresh = replace(benchmark, folder=tmp_path / "fresh")
    console = Console(file=io.StringIO(), width=200)
    seed = runs["hh-harmless"].seed
    assert module.run_benchmark(fresh, tasks, [seed], 1, out, console) == [runs["hh-harmless"]]
    assert not fresh.folder.exists()
    other = benchmark.settings(*tasks.values()) | {"data": "other"}
    assert finished_runs({"hh-harmless": other}, out) == ({"hh-harmless": other}, [])


def test_runs_of_tasks_that_are_not_asked_for_stay(runs: Mapping[str, Run], tmp_path: Path) -> None:
    out = tmp_path / "human.json"
    write_runs([runs["hh-harmless"]], {"hh-harmless": "of its own"}, out)
    assert finished_runs({"hh-helpful": "asked"}, out) == (
        {"hh-harmless": "of its own", "hh-helpful": "asked"},
        [runs["hh-harmless"]],
    )


def test_a_new_parameter_leaves_the_records_valid() -> None:
    """See `recorded`: a key that records lack is left out where it changes nothing."""
    record = json.loads(Path("benchmarks/human.json").read_text("utf-8"))
    assert set(TASKS) <= set(record["settings"])
    for name, settings in record["settings"].items():
        today = json.loads(json.dumps(module.settings_of(ALL_TASKS[name], load_params())))
        for part in ("task", "sft", "base_rm", "student_rm"):
            assert set(today[part]) == set(settings[part]), (name, part)


@pytest.fixture(scope="module")
def reduced(benchmark: Benchmark, runs: Mapping[str, Run]) -> Mapping[str, Run]:
    assert runs  # whose policies these share
    return {name: benchmark.run(name, tiny(name), 0) for name in PRETRAINED_TASKS}


def test_a_large_model_reads_fewer_and_shorter_texts(reduced: Mapping[str, Run]) -> None:
    for name, run in reduced.items():
        read = [run.counts[f"pairs_{split}"] for split in ("train", "validation", "test")]
        assert read == [20, 6, 6], name
        for cell in run.cells:
            assert cell.pairs == (min(cell.labels, 10), 2 * min(cell.labels, 10))
            assert set(cell.heads) == set(ARMS)
            assert "win_rate" not in cell.heads["hf50"]
            nearness = PRETRAINED_TASKS[name].sizes
            assert nearness is not None
            assert ("near_accuracy" in cell.heads["hf50"]) == nearness.nearness
        assert bool(run.cells[0].networks) == (PRETRAINED_TASKS[name].start != "policy")


def test_samples_that_the_limit_cut_are_counted_and_told(reduced: Mapping[str, Run]) -> None:
    run = reduced["hh-helpful-smollm2"]
    assert run.counts["samples"] == 16  # 4 pools of 4
    pools = SimpleNamespace(unfinished=np.array([[True, False], [True, True]]))
    corpus: Any = SimpleNamespace(task=tiny(run.task), pools=pools)
    assert module._samples(corpus) == {"samples": 4, "cut_samples": 3}
    counted = replace(run, counts={**run.counts, "cut_samples": 5})
    uncounted = {name: count for name, count in run.counts.items() if "samples" not in name}
    both = [counted, replace(counted, seed=1, counts={**counted.counts, "cut_samples": 4})]
    assert "5 of whose 16 samples were cut." in human_data_page([counted])
    assert "9 of whose 32 samples were cut." in human_data_page(both)
    assert "were cut" not in human_data_page([replace(run, counts=uncounted)])


def test_reward_models_of_another_start_share_the_policy_and_its_pools(
    reduced: Mapping[str, Run], benchmark: Benchmark
) -> None:
    assert reduced
    (folder,) = benchmark.folder.glob("hh-helpful-minilm-0-*")
    features = Features.load(folder / "features.safetensors")
    assert features.pools.shape == (4, 4, 64)  # of the ModernBERT, not of the policy's width 16
    # Of five tasks from scratch, two read the same references; the others add none.
    assert len(list(benchmark.folder.glob("policy-*/policy"))) == len(TASKS) - 1


def test_pretrained_runs_have_a_section_of_their_own(
    reduced: Mapping[str, Run], runs: Mapping[str, Run]
) -> None:
    page = human_data_page([*runs.values(), *reduced.values()])
    assert page.startswith(human_data_page(list(runs.values())).rstrip())
    section = page[page.index("## Pretrained models") :]
    for task in PRETRAINED_TASKS.values():
        assert f"### {task.title}\n" in section
    assert section.count("| fine-tuned West-of-N |") == 3
    assert human_data_page(list(reduced.values())).endswith(section)
