"""Two processes of torchrun train one model through a stage, and only where a stage can."""

from __future__ import annotations

import fcntl
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.stages.pipeline import Tiny
from tests.stages.test_interrupts import start, wait_for
from tests.stages.test_start_up import python
from westofn.progress import INTERVAL

# Masks of dropout would follow the processes' rows, so there is none.
# A minibatch of RL has a prompt for each.
PLAIN = {
    "sft": {"scratch": {"dropout": 0.0}},
    "student_rm": {"dropout": 0.0},
    "rlhf": {"minibatches": 1},
}


TWO = {"WESTOFN_PROCESSES": "2"}


def torchrun(tiny: Tiny, name: str) -> subprocess.CompletedProcess[str]:
    """Run a stage in two processes."""
    stage = tiny.stages[name]
    options = ("--standalone", "--nproc-per-node", "2", "-m", stage.module, *stage.arguments)
    return python(tiny, "-m", "torch.distributed.run", *options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    files = sorted(folder.glob("*.safetensors"))
    return {f"{file.name} {key}": value for file in files for key, value in load_file(file).items()}


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("sft", "ddp"),
        ("student_rm@k1", "ddp"),
        ("rlhf@k1", "ddp"),
        ("sft", "fsdp"),
        ("student_rm@k1", "fsdp"),
        ("rlhf@k1", "fsdp"),
    ],
)
def test_two_processes_train_the_model_that_one_trains(
    name: str, strategy: str, tiny: Tiny
) -> None:
    tiny.change(PLAIN)
    tiny.succeed(name)
    out = tiny / tiny.stages[name].outs[0]
    alone = weights(out)
    alone_card = json.loads((out / "card.json").read_text())
    written = (out / "card.json").stat().st_mtime_ns
    (tiny / "runs/stages.jsonl").unlink()

    variables = {**TWO, "WESTOFN_STRATEGY": strategy}
    started = time.monotonic()
    done = python(tiny, "-m", tiny.stages[name].module, *tiny.stages[name].arguments, **variables)
    was_quick = time.monotonic() - started < INTERVAL
    assert done.returncode == 0, done.stderr
    assert (out / "card.json").stat().st_mtime_ns > written
    together = weights(out)
    assert together.keys() == alone.keys()
    assert len(alone) > 10
    for key, weight in alone.items():
        # Sums of gradients in another order; Adam turns tiny ones into parts of a learning rate.
        torch.testing.assert_close(together[key], weight, atol=1e-4, rtol=0)
    facts = json.loads((out / "card.json").read_text())["training"]
    assert facts == pytest.approx(alone_card["training"], abs=1e-3)

    # Said, noted and cleared away by the first process alone.
    steps = [line.split(",")[0] for line in done.stderr.splitlines() if "step" in line]
    assert len(set(steps)) > 1
    if was_quick:  # later, a line comes again where the work has not gone on
        assert len(steps) == len(set(steps))
    assert len((tiny / "runs/stages.jsonl").read_text().splitlines()) == 1
    assert not [path for path in (tiny / ".scratch").rglob("*") if path.is_file()]


def test_a_stage_that_runs_in_one_process_says_so(tiny: Tiny) -> None:
    before = tiny.files()
    done = torchrun(tiny, "sample@k1")
    assert done.returncode != 0
    assert (
        "sample: sample-k1: torchrun started 2 processes, this stage supports one; run it with "
        "`python -m`"
    ) in done.stderr
    assert tiny.files() == before


def test_a_rank_alone_is_one_process_and_a_wrong_number_of_processes_is_refused(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "x")
    tiny.fail("sft", "WORLD_SIZE is 'x'", "start the stage with torchrun, or unset WORLD_SIZE")
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setenv("RANK", "1")
    card = tiny / "data/loop/k0/policy/card.json"
    card.unlink()
    tiny.succeed("sft")
    assert card.exists()


def test_a_stage_alone_takes_no_notice_of_processes(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WESTOFN_PROCESSES", "2")
    tiny.succeed("sample@k1")


def test_a_fault_in_several_processes_is_an_error_of_the_stage(tiny: Tiny) -> None:
    stage = tiny.stages["sft"]
    variables = {**TWO, "WESTOFN_MICRO_BATCH": "3"}
    done = python(tiny, "-m", stage.module, *stage.arguments, **variables)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "sft: batch_size 16 is not a multiple of micro_batch 3 × 2 processes" in done.stderr


def test_several_machines_need_an_address(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WESTOFN_NODES", "2")
    tiny.fail("sft", "nodes is 2", "rendezvous is not set", "HOST:PORT", "runtime.toml")


# Starts a command twice, as a scheduler does on two machines; a signal ends both.
LAUNCHER = """
import signal, subprocess, sys
started = [subprocess.Popen(sys.argv[1:]) for _ in range(2)]
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: [process.send_signal(number) for process in started])
sys.exit(max(process.wait() for process in started))
"""


def two_machines(tiny: Tiny) -> dict[str, str]:
    """Return the variables with which a stage starts on "two machines"."""
    (tiny / "launcher.py").write_text(LAUNCHER, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "WESTOFN_NODES": "2",
        "WESTOFN_RENDEZVOUS": f"127.0.0.1:{port}",
        "WESTOFN_LAUNCHER": f"{sys.executable} launcher.py",
    }


def test_a_launcher_starts_the_stage_on_every_machine(tiny: Tiny) -> None:
    tiny.change(PLAIN)
    tiny.succeed("sft")
    stage, out = tiny.stages["sft"], tiny / "data/loop/k0/policy"
    alone = weights(out)
    (tiny / "runs/stages.jsonl").unlink()
    done = python(tiny, "-m", stage.module, *stage.arguments, **two_machines(tiny))
    assert done.returncode == 0, done.stderr
    for key, weight in weights(out).items():
        torch.testing.assert_close(weight, alone[key], atol=1e-4, rtol=0)
    assert len((tiny / "runs/stages.jsonl").read_text().splitlines()) == 1


def test_an_error_on_every_machine_is_an_error_of_the_stage(tiny: Tiny) -> None:
    variables = {**two_machines(tiny), "WESTOFN_MICRO_BATCH": "3"}
    done = python(tiny, "-m", tiny.stages["sft"].module, *tiny.stages["sft"].arguments, **variables)
    assert done.returncode == 2
    assert "sft: batch_size 16 is not a multiple of micro_batch 3 × 2 processes" in done.stderr


def test_a_signal_ends_the_stage_on_every_machine(tiny: Tiny) -> None:
    tiny.change({"sft": {"steps": 20_000, "evaluations": 1_000}})
    stage = tiny.stages["sft"]
    process = start(
        tiny, sys.executable, "-m", stage.module, *stage.arguments, **two_machines(tiny)
    )
    wait_for(lambda: list(tiny.root.glob(".scratch/sft/*/checkpoint-*")))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)  # until nobody holds its streams
    assert process.returncode == 143
    assert err.count("sft: interrupted; finished work stays in .scratch") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("launcher", "message"),
    [
        ("none-such -n 2", "launcher: none-such is not on this machine"),
        ("srun '", "launcher is"),
        (" ", "needs a command such as srun -q"),
    ],
)
def test_a_launcher_that_is_no_command_is_refused(
    launcher: str, message: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**two_machines(tiny), "WESTOFN_LAUNCHER": launcher}.items():
        monkeypatch.setenv(name, value)
    tiny.fail("sft", message)


def test_a_signal_to_the_launcher_ends_its_processes(tiny: Tiny) -> None:
    tiny.change({"sft": {"steps": 20_000, "evaluations": 1_000}})
    stage = tiny.stages["sft"]
    process = start(tiny, sys.executable, "-m", stage.module, *stage.arguments, **TWO)
    wait_for(lambda: list(tiny.root.glob(".scratch/sft/*/checkpoint-*")))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)  # until nobody holds its streams
    assert process.returncode == 130
    assert err.count("sft: interrupted; finished work stays in .scratch") == 1
    assert "Traceback" not in err


def test_one_process_goes_on_where_two_were_interrupted(tiny: Tiny) -> None:
    tiny.change({"sft": {**PLAIN["sft"], "steps": 200, "evaluations": 40}})
    stage = tiny.stages["sft"]
    tiny.succeed("sft")
    alone = weights(tiny / stage.outs[0])
    variables = {**TWO, "WESTOFN_STRATEGY": "fsdp"}
    process = start(tiny, sys.executable, "-m", stage.module, *stage.arguments, **variables)
    wait_for(lambda: list(tiny.root.glob(".scratch/sft/*/checkpoint-10/trainer_state.json")))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert list(tiny.root.glob(".scratch/sft/*/checkpoint-*"))
    tiny.succeed("sft")
    resumed = weights(tiny / stage.outs[0])
    assert resumed.keys() == alone.keys()
    for key, weight in alone.items():
        torch.testing.assert_close(resumed[key], weight, atol=1e-4, rtol=0)


def test_a_signal_to_torchrun_ends_its_processes(tiny: Tiny) -> None:
    tiny.change({"sft": {"steps": 20_000, "evaluations": 1_000}})
    stage = tiny.stages["sft"]
    options = ("--standalone", "--nproc-per-node", "2", "-m", stage.module, *stage.arguments)
    agent = start(tiny, sys.executable, "-m", "torch.distributed.run", *options)
    wait_for(lambda: list(tiny.root.glob(".scratch/sft/*/checkpoint-*")))
    agent.send_signal(signal.SIGTERM)
    _, err = agent.communicate(timeout=60)  # until nobody holds its streams
    assert agent.returncode != 0
    assert err.count("sft: interrupted; finished work stays in .scratch") == 1
    (lock,) = tiny.root.glob(".scratch/sft/*.lock")
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
