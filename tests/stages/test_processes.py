"""Two processes of torchrun train one model through a stage, and only where a stage can."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.stages.pipeline import Tiny
from tests.stages.test_interrupts import start, wait_for
from tests.stages.test_start_up import python

# Masks of dropout would follow the processes' rows, so there is none.
# A minibatch of RL has a prompt for each.
PLAIN = {
    "sft": {"scratch": {"dropout": 0.0}},
    "student_rm": {"dropout": 0.0},
    "rlhf": {"minibatches": 1},
}


def torchrun(tiny: Tiny, name: str) -> subprocess.CompletedProcess[str]:
    """Run a stage in two processes."""
    stage = tiny.stages[name]
    options = ("--standalone", "--nproc-per-node", "2", "-m", stage.module, *stage.arguments)
    return python(tiny, "-m", "torch.distributed.run", *options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    files = sorted(folder.glob("*.safetensors"))
    return {f"{file.name} {key}": value for file in files for key, value in load_file(file).items()}


@pytest.mark.parametrize("name", ["sft", "student_rm@k1", "rlhf@k1"])
def test_two_processes_train_the_model_that_one_trains(name: str, tiny: Tiny) -> None:
    tiny.change(PLAIN)
    tiny.succeed(name)
    out = tiny / tiny.stages[name].outs[0]
    alone = weights(out)
    alone_card = json.loads((out / "card.json").read_text())
    written = (out / "card.json").stat().st_mtime_ns
    (tiny / "runs/stages.jsonl").unlink()

    done = torchrun(tiny, name)
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
    assert len(steps) == len(set(steps)) > 1
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
