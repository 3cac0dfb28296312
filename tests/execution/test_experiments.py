"""Experiments: what is asked of DVC, what its failure says, and how several run side by side.

A script stands for DVC here but for TestRealDvc; tests/e2e runs the real one too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from westofn.execution import experiments
from westofn.execution.experiments import (
    Experiment,
    ExperimentError,
    remove_experiments,
    run_all,
    run_experiment,
)

# Logs its arguments and environment, and keeps or removes the reference as DVC does.
SCRIPT = """
import json, os, subprocess, sys
def git(*arguments):
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout
arguments = sys.argv[1:]
log = {"arguments": arguments, "threads": os.environ.get("OMP_NUM_THREADS"),
       "path": os.environ["PATH"]}
with open("log.jsonl", "a") as handle:
    handle.write(json.dumps(log) + "\\n")
if "quantile=1.5" in arguments:
    print("\\n".join(f"line {number}" for number in range(100)), flush=True)
    print("check: quantile is 1.5", file=sys.stderr)
    sys.exit(255)
head = git("rev-parse", "HEAD").strip()
space = f"refs/exps/{head[:2]}/{head[2:]}/"
if arguments[:2] == ["exp", "remove"]:
    for name in arguments[2:]:
        git("update-ref", "-d", space + name)
elif "lost" not in arguments:
    name = arguments[arguments.index("-n") + 1]
    assert not git("for-each-ref", space + name)
    made = git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", name).strip()
    git("update-ref", space + name, made)
"""


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def sign() -> None:
    """Give the repository here somebody who commits."""
    for key in ("user.name", "user.email"):
        git("config", key, "t@example.org")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit, and the script in DVC's place."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    sign()
    git("commit", "-q", "--allow-empty", "-m", "first")
    script = tmp_path / "dvc.py"
    script.write_text(SCRIPT)
    monkeypatch.setattr(experiments, "DVC", (sys.executable, str(script)))
    return tmp_path


def calls(clone: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (clone / "log.jsonl").read_text().splitlines()]


class TestRunExperiment:
    def test_settings_and_targets_reach_dvc(self, clone: Path) -> None:
        settings = {"seed": 3, "filter.quantile": 0.5}
        run_experiment(Experiment("a", settings, ("student_rm@k1",)))
        (call,) = calls(clone)
        command = "exp run --temp -n a -S seed=3 -S filter.quantile=0.5 student_rm@k1"
        assert " ".join(call["arguments"]) == command

    def test_afresh_leaves_the_stages_of_tracked_locks_behind(self, clone: Path) -> None:
        (clone / "study").mkdir()
        (clone / "other").mkdir()
        for name, text in (
            ("dvc.lock", "schema: '2.0'\nstages:\n  a:\n    cmd: b\n"),
            ("study/dvc.lock", "schema: '2.0'\nstages:\n  c:\n    cmd: d\n"),
            ("other/dvc.lock", "schema: '2.0'\n"),
        ):
            (clone / name).write_text(text)
        git("add", "dvc.lock", "other/dvc.lock")
        run_all([Experiment("a", {"seed": 3}, afresh=True)])
        git("add", "study/dvc.lock")
        run_all([Experiment("b", {"seed": 3}, afresh=True), Experiment("c", {"seed": 4})])
        (clone / "dvc.lock").unlink()
        run_all([Experiment("d", {"seed": 3}, afresh=True)])
        said = [
            " ".join(call["arguments"]).removeprefix("exp run --temp -n ") for call in calls(clone)
        ]
        assert said == [
            "a -S seed=3 -S dvc.lock:~stages",
            "b -S seed=3 -S dvc.lock:~stages -S study/dvc.lock:~stages",
            "c -S seed=4",
            "d -S seed=3 -S study/dvc.lock:~stages",
        ]

    def test_locks_are_looked_at_before_an_experiment_starts(
        self, clone: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lock = clone / "dvc.lock"
        lock.write_text("schema: '2.0'\nstages:\n  a:\n    cmd: b\n")
        git("add", "dvc.lock")
        told = []

        def run(experiment: Experiment, locks: Sequence[str]) -> str:
            told.append((experiment.name, *locks))
            lock.write_text("schema: '2.0'\n")  # as DVC does while it starts one
            return ""

        monkeypatch.setattr(experiments, "run_experiment", run)
        run_all([Experiment(name, {}, afresh=True) for name in "ab"])
        assert told == [("a", "dvc.lock"), ("b", "dvc.lock")]

    def test_a_run_has_one_thread_and_this_interpreter(self, clone: Path) -> None:
        run_experiment(Experiment("a", {}))
        (call,) = calls(clone)
        assert call["threads"] == "1"
        assert call["path"].split(":")[0] == str(Path(sys.executable).parent)

    def test_the_revision_is_the_experiments(self, clone: Path) -> None:
        revision = run_experiment(Experiment("a", {}))
        assert git("log", "-1", "--format=%s", revision) == "a"
        assert revision != git("rev-parse", "HEAD")

    def test_an_earlier_one_of_the_name_is_replaced(self, clone: Path) -> None:
        for _ in range(2):
            run_experiment(Experiment("a", {}))
        verbs = [call["arguments"][:2] for call in calls(clone)]
        assert verbs == [["exp", "run"], ["exp", "remove"], ["exp", "run"]]

    def test_a_failure_shows_the_last_lines_of_both_streams(self, clone: Path) -> None:
        with pytest.raises(ExperimentError) as error:
            run_experiment(Experiment("a", {"quantile": 1.5}))
        lines = str(error.value).splitlines()
        assert lines[0].startswith("experiment a: dvc ended with exit code 255; mend")
        assert "check: quantile is 1.5" in lines
        assert "line 99" in lines
        assert len(lines) == 1 + experiments.TAIL_LINES

    def test_a_shallow_clone_is_told_before_anything_runs(
        self, clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        git("commit", "-q", "--allow-empty", "-m", "second")
        git("clone", "-q", "--depth", "1", f"file://{clone}", "shallow")
        monkeypatch.chdir(tmp_path / "shallow")
        with pytest.raises(ExperimentError, match="git fetch --unshallow"):
            run_experiment(Experiment("a", {}))
        assert not (tmp_path / "shallow" / "log.jsonl").exists()

    def test_an_experiment_that_dvc_lost_is_an_error(self, clone: Path) -> None:
        with pytest.raises(ExperimentError, match="experiment a: dvc succeeded but wrote no refs/"):
            run_experiment(Experiment("a", {}, ("lost",)))

    def test_a_folder_without_a_repository_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", "/")
        with pytest.raises(ExperimentError, match="need git and a clone with a commit"):
            run_experiment(Experiment("a", {}))


class TestRealDvc:
    """What `afresh` is for: a clone has the lock, but neither its outputs nor its run cache."""

    def test_a_stage_runs_once_for_all_experiments(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "first").mkdir()
        monkeypatch.chdir(tmp_path / "first")
        monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
        runs = tmp_path / "runs.txt"
        git("init", "-q")
        sign()
        subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
        # The output differs between machines, here between runs.
        command = f"echo run >> {runs} && cp {runs} out.txt"
        Path("params.yaml").write_text("a: 1\nb: 1\n")
        Path("dvc.yaml").write_text(
            f"stages:\n  one:\n    cmd: {command}\n    params: [a]\n    outs: [out.txt]\n"
            "  two:\n    cmd: cat out.txt params.yaml > two.txt\n    params: [b]\n"
            "    deps: [out.txt]\n    outs: [two.txt]\n"
        )
        subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], check=True)
        git("add", "-A")
        git("commit", "-q", "-m", "with its lock")
        git("clone", "-q", ".", "../second")
        monkeypatch.chdir(tmp_path / "second")
        sign()
        lock = Path("dvc.lock").read_text()
        for b in (2, 3):
            revisions: list[str] = []
            one = Experiment(f"b{b}", {"b": b}, afresh=True)
            run_all([one], 1, lambda _, revision, to=revisions: to.append(revision))
            found = experiments.read_output(revisions[0], "two.txt")
            assert found.startswith(b"run\nrun\na: 1\n")
        assert runs.read_text() == "run\nrun\n"
        assert Path("dvc.lock").read_text() == lock
        assert git("status", "--porcelain") == ""


def test_only_experiments_that_are_there_are_removed(clone: Path) -> None:
    run_experiment(Experiment("a", {}))
    remove_experiments(["a", "b"])
    remove_experiments(["a", "b"])
    assert [call["arguments"] for call in calls(clone)[1:]] == [["exp", "remove", "a"]]
    assert git("for-each-ref", "refs/exps") == ""


class Runs:
    """Stands for run_experiment: a name that is `bad` fails, `slow` ones wait for each other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, together: int = 1) -> None:
        self.barrier = threading.Barrier(together, timeout=20)
        self.started: list[str] = []
        monkeypatch.setattr(experiments, "run_experiment", self)

    def __call__(self, experiment: Experiment, locks: Sequence[str]) -> str:
        name = experiment.name
        self.started.append(name)
        self.barrier.wait()
        if name == "bad":
            raise ExperimentError("experiment bad: it failed")
        return f"revision of {name}"


def some(*names: str) -> list[Experiment]:
    return [Experiment(name, {}) for name in names]


class TestRunAll:
    def test_every_experiment_ends_with_its_revision(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Runs(monkeypatch)
        found: dict[str, str] = {}
        run_all(some("a", "b", "c"), 2, lambda e, revision: found.update({e.name: revision}))
        assert found == {name: f"revision of {name}" for name in "abc"}

    def test_jobs_run_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        runs = Runs(monkeypatch, together=3)  # each waits for two others
        run_all(some("a", "b", "c"), 3)
        assert sorted(runs.started) == ["a", "b", "c"]

    def test_after_a_failure_none_starts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        runs = Runs(monkeypatch)
        ended: list[str] = []
        with pytest.raises(ExperimentError, match="bad: it failed"):
            run_all(some("a", "bad", "c", "d"), 1, lambda e, _: ended.append(e.name))
        assert runs.started == ["a", "bad"]
        assert set(ended) <= {"a"}

    def test_what_runs_beside_a_failure_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ended = []

        def run(experiment: Experiment, locks: Sequence[str]) -> str:
            if experiment.name == "bad":
                raise ExperimentError("it failed")
            time.sleep(0.05)
            ended.append(experiment.name)
            return experiment.name

        monkeypatch.setattr(experiments, "run_experiment", run)
        with pytest.raises(ExperimentError):
            run_all(some("a", "bad"), 2)
        assert ended == ["a"]

    def test_an_experiment_waits_for_those_before_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        runs = Runs(monkeypatch)
        last = Experiment("last", {}, after=("a", "b"))
        run_all([last, *some("a", "b")], 1)
        assert runs.started == ["a", "b", "last"]

    def test_while_one_waits_the_next_that_may_start_does(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runs = Runs(monkeypatch, together=2)  # each waits for another
        pairs = [
            Experiment(f"{half}{seed}", {}, after=(f"main{seed}",) if half != "main" else ())
            for seed in (0, 1)
            for half in ("main", "left", "right")
        ]
        run_all(pairs, 2)
        assert set(runs.started[:2]) == {"main0", "main1"}
        assert set(runs.started[2:]) == {"left0", "right0", "left1", "right1"}

    @pytest.mark.parametrize("after", [("b",), ("nobody",)])
    def test_waiting_for_what_never_ends_is_told(
        self, after: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Runs(monkeypatch)
        stuck = [Experiment("a", {}, after=after), Experiment("b", {}, after=("a",))]
        with pytest.raises(ExperimentError, match="a, b wait for each other"):
            run_all(stuck)

    def test_none_is_nothing(self) -> None:
        run_all([], 2)
