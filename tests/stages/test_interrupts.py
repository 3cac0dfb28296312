"""An interrupted stage fails in one line; its outputs are whole or absent, its litter goes."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stages.pipeline import PROGRESS, ROOT, Tiny, stages_of
from westofn.artifacts import atomic

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
STAGES = list(stages_of(ROOT / "dvc.yaml", ROOT / "params.yaml"))
TRIES = 9
LONG = {"sft": {"steps": 20_000, "evaluations": 1_000}}


def start(tiny: Tiny, *command: str, **variables: str) -> subprocess.Popen[str]:
    environment = (
        os.environ
        | variables
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "DVC_NO_ANALYTICS": "1",
        }
    )
    return subprocess.Popen(
        command,
        cwd=tiny.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def start_stage(tiny: Tiny, name: str) -> subprocess.Popen[str]:
    stage = tiny.stage(name)
    return start(tiny, sys.executable, "-m", stage.module, *stage.arguments)


def run_dvc(tiny: Tiny, *arguments: str) -> str:
    process = start(tiny, "dvc", *arguments)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def wait_for(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 240  # torchrun may take a minute to begin
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def remove_outputs(tiny: Tiny, name: str) -> None:
    """Remove the outputs of a stage, as DVC does before it starts the stage."""
    for out in tiny.stage(name).outs:
        path = tiny / out
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def litter(tiny: Tiny) -> list[Path]:
    return [path for path in tiny.root.rglob(".*.tmp") if "dvc" not in path.parts]


@pytest.mark.parametrize("name", STAGES)
def test_an_interrupt_of_any_stage_leaves_no_output(
    name: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when everything is computed and the last output is about to be in its place."""
    outs = {str(Path(out)) for out in tiny.stage(name).outs}
    replace, put, moments = os.replace, atomic._put, []

    def interrupt(path: Path) -> None:
        if str(path) in outs:
            moments.append(path)
            raise KeyboardInterrupt

    def replacing(source: Path, target: Path) -> None:
        interrupt(target)
        replace(source, target)

    def putting(temporary: Path, path: Path) -> None:
        interrupt(path)
        put(temporary, path)

    monkeypatch.setattr(os, "replace", replacing)
    monkeypatch.setattr(atomic, "_put", putting)
    remove_outputs(tiny, name)
    before = tiny.files()
    outcome = tiny.call(name)
    assert moments
    assert outcome.code == 130
    stage = tiny.stage(name).module.rpartition(".")[2]
    assert outcome.lines[-1].startswith(f"{stage}: interrupted; ")
    assert tiny.files() == before
    assert not any((tiny / out).exists() for out in outs)
    assert not litter(tiny)
    monkeypatch.undo()
    tiny.succeed(name)


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_a_stage_trains_keeps_what_is_finished(
    number: signal.Signals, tiny: Tiny
) -> None:
    tiny.change(LONG)
    remove_outputs(tiny, "sft")
    process = start_stage(tiny, "sft")
    wait_for(lambda: list(tiny.root.glob(".scratch/sft/*/checkpoint-*/trainer_state.json")))
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == CODES[number], err
    said = [line for line in err.splitlines() if not PROGRESS.match(line)]
    assert said == ["sft: interrupted; finished work stays in .scratch, run it again to go on"]
    assert "Traceback" not in out
    assert not (tiny / "data/loop/k0/policy").exists()
    assert list(tiny.root.glob(".scratch/sft/*/checkpoint-*"))
    assert not litter(tiny)


def test_signals_at_any_moment_leave_whole_outputs_or_none(made: Tiny, tiny: Tiny) -> None:
    """The seconds that importing takes are among the moments, and those of a stage's end."""
    whole = made.files()
    outs = {path for path in whole if path.startswith("data/loop/k1/synthetic/")}
    assert len(outs) == 3
    moments, codes = random.Random(0), Counter[int]()
    started = time.monotonic()
    start_stage(tiny, "filter@k1").communicate(timeout=60)
    duration = time.monotonic() - started
    for attempt in range(TRIES):
        if attempt % 2 and (tiny / "data/loop/k1/synthetic").exists():
            remove_outputs(tiny, "filter@k1")
        number = list(CODES)[attempt % len(CODES)]
        process = start_stage(tiny, "filter@k1")
        time.sleep(0.1 + 0.9 * duration * moments.random())
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        codes[process.returncode] += 1
        assert process.returncode in (0, CODES[number]), err
        assert len(err.splitlines()) == (process.returncode != 0), err
        files = tiny.files()
        assert outs & files.keys() in (outs, set())
        assert all(whole[path] == digest for path, digest in files.items() if path in whole)
    assert any(codes[code] for code in CODES.values())
    tiny.succeed("filter@k1")
    assert tiny.files() == whole
    assert not litter(tiny)


def test_what_a_killed_run_leaves_is_swept_when_the_stage_starts(tiny: Tiny) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = [
        tiny / f"data/loop/k1/.candidates.parquet.{ended.pid}.tmp",
        tiny / f"data/loop/k1/.counts.json.{ended.pid}.tmp",
        tiny / f"data/loop/k1/.counts.json.{os.getppid()}.tmp",
    ]
    for path in left:
        path.write_text("half")
    tiny.change({"sample": {"temperature": -1}})
    assert tiny.call("sample@k1").code == 2  # it starts, and does not come to writing
    assert [path.exists() for path in left] == [False, False, True]


def test_what_a_killed_run_leaves_in_scratch_is_swept(tiny: Tiny) -> None:
    tiny.change(LONG)
    process = start_stage(tiny, "sft")
    wait_for(lambda: list(tiny.root.glob(".scratch/sft/*/")))
    process.kill()
    process.communicate()
    (folder,) = tiny.root.glob(".scratch/sft/*/")
    half = folder / f".shard.{process.pid}.tmp"
    half.write_text("half")
    again = start_stage(tiny, "sft")
    wait_for(lambda: not half.exists())
    again.kill()
    again.communicate()


@pytest.fixture
def tracked(tiny: Tiny) -> Tiny:
    """A repository of DVC without git, in which the tiny outputs lie."""
    run_dvc(tiny, "init", "--no-scm", "--quiet")
    shutil.copy(ROOT / ".dvcignore", tiny / ".dvcignore")
    return tiny


def test_dvc_fails_and_records_nothing_of_an_interrupted_stage(tracked: Tiny) -> None:
    tracked.change(LONG)
    process = start(tracked, "dvc", "repro", "-f", "-s", "sft")
    wait_for(lambda: list(tracked.root.glob(".scratch/sft/*/checkpoint-*")))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    said = " ".join(err.split())
    assert "exited with 130" in said or "exited with -2" in said  # dash waits, and dies of it too
    assert "sft: interrupted; finished work stays in .scratch" in err
    assert "Traceback" not in err
    assert not (tracked / "dvc.lock").exists()
    assert not (tracked / "data/loop/k0/policy").exists()
    (lock,) = tracked.root.glob(".scratch/sft/*.lock")
    with lock.open("w") as handle:  # nobody holds it
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_dvc_does_not_see_what_a_killed_run_leaves(tracked: Tiny) -> None:
    for pipeline in ("dvc.yaml", "study/dvc.yaml"):  # here the folder is tracked as a whole
        (tracked / pipeline).unlink()
    run_dvc(tracked, "add", "--quiet", "data/loop")
    recorded = (tracked / "data/loop.dvc").read_text()
    for name in (".rm.12.tmp/model", ".rm.12.old.tmp/model", ".counts.json.7.tmp"):
        path = tracked / "data/loop/k1" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    assert json.loads(run_dvc(tracked, "status", "--json")) == {}
    run_dvc(tracked, "add", "--quiet", "data/loop")
    assert (tracked / "data/loop.dvc").read_text() == recorded
    assert (tracked / "data/loop/k1/.rm.12.tmp/model").exists()
