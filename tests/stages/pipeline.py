"""A repository's root in a temporary folder, whose stages run in this process.

Commands and outputs are those of dvc.yaml, so a stage is called here as DVC calls it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
from ruamel.yaml import YAML

from stages.common import run
from tests.tiny import change, shrink

ROOT = Path(__file__).resolve().parents[2]
UNTRACKED = (".scratch", "dvclive", "runs")
PROGRESS = re.compile(r"[^:]+: (\d[\d,]*/[\d,]+ \w|[\d,]+ \w+ in \d|running for \d)")
"""A line of progress, which other lines than the one that a test expects may be."""


@dataclass(frozen=True)
class Outcome:
    """How a stage ended: its exit code and what it printed."""

    code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stderr.splitlines()


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml, or one of a foreach."""

    module: str
    arguments: tuple[str, ...]
    outs: tuple[str, ...]


def stages_of(pipeline: Path, params: Path) -> dict[str, Stage]:
    """Every stage by the name that DVC gives it, in the order of the file."""
    yaml = YAML(typ="safe")
    document, values = yaml.load(pipeline), yaml.load(params)
    found = {}
    for name, stage in document["stages"].items():
        each = stage.get("foreach")
        given = {"${loop}": values["loop"], "${rounds}": list(values["loop"]), "${run}": {"": {}}}
        items = given.get(str(each), each) or {"": {}}
        for key in items:
            item = items[key] if isinstance(items, dict) else {}
            text = {"key": key, "item": key}
            text |= {f"item.{field}": value for field, value in item.items()}
            found[f"{name}@{key}" if key else name] = _stage(stage.get("do", stage), text)
    return found


def _stage(body: dict[str, Any], text: dict[str, str]) -> Stage:
    def fill(template: str) -> str:
        return re.sub(r"\$\{([\w.]+)\}", lambda match: text[match.group(1)], template)

    python, option, module, *arguments = shlex.split(fill(body["cmd"]))
    assert (python, option) == ("python", "-m")
    outs = [*body.get("outs", []), *body.get("metrics", [])]
    paths = [out if isinstance(out, str) else next(iter(out)) for out in outs]
    return Stage(module, tuple(arguments), tuple(fill(path) for path in paths))


@dataclass(frozen=True)
class Tiny:
    """The temporary root."""

    root: Path

    @classmethod
    def make(cls, root: Path, changes: dict[str, Any] | None = None) -> Tiny:
        (root / "study").mkdir(parents=True, exist_ok=True)
        for name in ("params.yaml", "dvc.yaml", "study/dvc.yaml", "study/run.yaml"):
            shutil.copy(ROOT / name, root / name)
        shrink(root / "params.yaml", changes)
        return cls(root)

    def copy(self, root: Path) -> Tiny:
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns(*UNTRACKED))
        return Tiny(root)

    def __truediv__(self, path: str) -> Path:
        return self.root / path

    @property
    def stages(self) -> dict[str, Stage]:
        """Of dvc.yaml."""
        return stages_of(self / "dvc.yaml", self / "params.yaml")

    @property
    def study(self) -> dict[str, Stage]:
        """Of study/dvc.yaml."""
        return stages_of(self / "study" / "dvc.yaml", self / "params.yaml")

    def stage(self, name: str) -> Stage:
        """Of either file."""
        return (self.stages | self.study)[name]

    def shrink(self, changes: dict[str, Any]) -> None:
        """Tiny sizes, and further changes, for parameters that were written since."""
        shrink(self / "params.yaml", changes)

    def change(self, changes: dict[str, Any]) -> None:
        """Change parameters."""
        change(self / "params.yaml", changes)

    def edit(self, path: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """Rewrite a Parquet file without its table's checks."""
        change(pl.read_parquet(self / path)).write_parquet(self / path)

    def call(self, name: str) -> Outcome:
        """Run a stage as DVC does."""
        stage = self.stage(name)
        return self.call_with(stage.module, *stage.arguments)

    def call_with(self, module: str, *arguments: str) -> Outcome:
        """Run a stage's module with arguments of one's own."""
        main = importlib.import_module(module).main
        out, err = io.StringIO(), io.StringIO()
        code = 0
        with (
            contextlib.chdir(self.root),
            mock.patch.object(sys, "argv", [module, *arguments]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                run(main)
            except SystemExit as end:
                code = int(end.code or 0)
        return Outcome(code, out.getvalue(), err.getvalue())

    def succeed(self, *names: str) -> None:
        """Run stages that must not fail."""
        for name in names:
            outcome = self.call(name)
            assert outcome.code == 0, f"{name}: {outcome.stderr}"

    def fail(self, name: str, *needed: str) -> str:
        """Run a stage that must fail as the house promises; the one line that it prints.

        Args:
            name: Of the stage.
            needed: What the line says: where, found, needed, how to mend.
        """
        before = self.files()
        outcome = self.call(name)
        assert outcome.code == 2, outcome
        lines = [
            line for line in outcome.lines if not PROGRESS.match(line)
        ]  # all else is the error
        assert len(lines) == 1, outcome.stderr
        assert lines[0].startswith(self.stage(name).module.rpartition(".")[2] + ": ")
        for text in needed:
            assert text in lines[0], f"{text!r} not in {lines[0]!r}"
        assert self.files() == before
        return lines[0]

    def files(self) -> dict[str, str]:
        """Digest of every file but scratch and notes: also of temporary files left behind."""
        return dict(self._files())

    def _files(self) -> Iterator[tuple[str, str]]:
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            if path.is_file() and not name.startswith(UNTRACKED):
                yield name, hashlib.blake2b(path.read_bytes()).hexdigest()
