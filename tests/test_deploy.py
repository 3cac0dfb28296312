"""The files of deploy/: a Slurm script that runs, and a task for SkyPilot with known keys."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
SLURM = ROOT / "deploy" / "slurm.sh"
# Notes the arguments and the settings of the pipeline.
STUB = """#!/bin/bash
echo "$(basename "$0") $* processes=${WESTOFN_PROCESSES:-} nodes=${WESTOFN_NODES:-}" \\
  "rendezvous=${WESTOFN_RENDEZVOUS:-}" >> "$LOG"
[[ $* != "remote list" ]] || echo "${REMOTE:-}"
[[ $1 != show ]] || printf 'n%s\\n' {1..99999}
"""


def run_script(tmp_path: Path, *stages: str, **variables: str) -> list[str]:
    """Run the script where `dvc` and `scontrol` are stubs; return what they were called with."""
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f"export PATH={programs}:$PATH\n")
    for name in ("dvc", "scontrol"):
        (programs / name).write_text(STUB)
        (programs / name).chmod(0o755)
    log = tmp_path / "log"
    environment = {"PATH": os.environ["PATH"], "SLURM_SUBMIT_DIR": str(tmp_path), "LOG": str(log)}
    command = ["bash", str(SLURM), *stages]
    done = subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return log.read_text().splitlines()


def test_slurm_runs_stages_and_pushes(tmp_path: Path) -> None:
    lines = run_script(tmp_path, "sft", "eval@k1", REMOTE="storage", SLURM_GPUS_ON_NODE="8")
    settings = "processes=8 nodes= rendezvous="
    assert lines == [
        f"dvc remote list {settings}",
        f"dvc repro --pull --allow-missing sft eval@k1 {settings}",
        f"dvc push {settings}",
    ]


def test_slurm_without_a_remote_runs_everything_here(tmp_path: Path) -> None:
    assert run_script(tmp_path)[1:] == ["dvc repro processes= nodes= rendezvous="]


def test_slurm_tells_several_nodes_where_they_meet(tmp_path: Path) -> None:
    job = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_ID": "20007"}
    lines = run_script(tmp_path, **job)
    assert lines[-1] == "dvc repro processes= nodes=2 rendezvous=n1:20007"


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs shellcheck")
def test_slurm_script_has_no_fault_that_shellcheck_knows() -> None:
    subprocess.run(["shellcheck", SLURM], check=True)


def test_skypilot_runs_what_slurm_runs() -> None:
    task = YAML(typ="safe").load((ROOT / "deploy" / "skypilot.yaml").read_text(encoding="utf-8"))
    keys = {"name", "resources", "num_nodes", "workdir", "envs", "secrets", "setup", "run"}
    assert set(task) == keys  # of SkyPilot 0.14's schema
    commands = task["run"].splitlines()
    assert commands[-2:] == ["dvc repro --pull --allow-missing $STAGES", "dvc push"]
    subprocess.run(["bash", "-n"], input=task["setup"] + task["run"], text=True, check=True)
