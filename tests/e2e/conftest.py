"""A clone of the working tree in a temporary folder, and DVC in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tiny import shrink

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Clone:
    """A repository of its own with the working tree's files."""

    root: Path

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command at the root; its output, both streams in the order they came."""
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "DVC_NO_ANALYTICS": "1",
        }
        done = subprocess.run(
            command,
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{command} gave {done.returncode}:\n{done.stdout[-4000:]}"
        return done.stdout

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.run("git", "add", "-A")
        self.run(
            "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", message
        )


@pytest.fixture(scope="module")
def make_clone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Clone]:
    """Make a tiny clone; changes go into its params.yaml on top of the tiny sizes."""

    def make(changes: dict[str, object] | None = None) -> Clone:
        root = tmp_path_factory.mktemp("clone") / "westofn"
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        names = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
        assert "dvc.yaml" in names
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
        (root / "dvc.lock").unlink(missing_ok=True)
        shrink(root / "params.yaml", changes)
        clone = Clone(root)
        clone.run("git", "init", "-q")
        clone.run("git", "config", "user.name", "t")
        clone.run("git", "config", "user.email", "t@example.org")
        clone.commit("tiny")
        return clone

    return make
