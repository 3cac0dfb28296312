"""Runs of tiny stages with and without faults, each in a fork of one process.

The process has imported what the stages import, so that a run costs its own work alone. It must
have been started with the library of `faults.py` preloaded.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import os
import re
import shutil
import sys
import traceback
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.soak.faults import ENDING, NEVER, Call, arm, calls_of, lose_power
from benchmarks.soak.points import Point, points_of
from stages.common import run
from tests.stages.pipeline import Stage, Tiny

NOTES = (".scratch", "runs", "dvclive")
"""Folders of a root that are no outputs."""
EARLIER = b"of an earlier run"
NOTICES = re.compile(
    r"[\w /@]+: (\d[\d,]*/[\d,]+ \w|[\d,]+ \w+ in \d|running for \d)"
    r"|[\w /@]+: (dvclive is not written|run facts not noted)"
    r"|WARNING: .* damaged and removed|$"
)
"""Lines of a run that meets a fault and may go on."""
SIZES = {
    "prepare": {"world": {"sft_examples": 120}},
    "sft": {"steps": 4},
    "reward": {"steps": 2, "warmup_fraction": 0.0},
    "rlhf": {"steps": 2},
}
"""Smaller than in the tests' tiny pipeline: nothing is learned here."""


@dataclass(frozen=True)
class End:
    """How a run ended: its exit code, negative for a signal, and what it wrote to stderr."""

    code: int
    stderr: str


class Soak:
    """A root whose stages are run.

    Args:
        folder: Empty folder for the root, a copy of it, and what runs print.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._tiny = Tiny.make(self._folder / "root", SIZES)
        self._root = self._tiny.root
        self._stages = self._tiny.stages
        self._whole: dict[str, str] = {}
        self._said: dict[str, set[str]] = {}
        self._modules = self._folder / "modules"

    def make(self, names: Collection[str]) -> dict[str, list[Point]]:
        """Run the stages up to the last of `names` without a fault, and count the calls of `names`.

        Returns:
            Stage -> all its points.
        """
        order = list(self._stages)
        for name in order[: 1 + max(map(order.index, names))]:
            importlib.import_module(self._stages[name].module)
            self._succeed(name)
            for module in self._modules.read_text("utf-8").split():
                with contextlib.suppress(Exception):
                    importlib.import_module(module)
            gc.freeze()
        self._whole = self._files()
        shutil.copytree(self._root, self._copy, ignore=shutil.ignore_patterns(*NOTES))
        return {name: self._points(name) for name in order if name in names}

    def stage_names(self) -> list[str]:
        """Return the names of the stages in the order of dvc.yaml."""
        return list(self._stages)

    def fault_at(self, point: Point) -> str | None:
        """Let a stage meet a fault, then run it again without one.

        Returns:
            What is wrong, in one line; None if everything is as promised.
        """
        outs = self._prepare(point)
        before = self._files()
        end = self._run(point.stage, point.target, point.kind)
        calls = calls_of(self._log)
        call = calls[point.target] if point.target < len(calls) else Call("no call", "")
        if point.kind == "power":
            lose_power(calls[: point.target])
        wrong = None if call.path else f"ended after {len(calls)} calls, before the fault"
        wrong = wrong or self._ended(point, call, end) or self._kept(outs, before, end)
        wrong = wrong or self._again(point.stage)
        if wrong is None:
            return None
        shutil.rmtree(self._root)
        shutil.copytree(self._copy, self._root)
        where = call.path.replace(f"{self._root}/", "")
        return f"{call.name} {re.sub(r'[.][0-9]+[.]', '.PID.', where)}: {wrong}"

    @property
    def _copy(self) -> Path:
        return self._folder / "copy"

    @property
    def _log(self) -> Path:
        return self._folder / "calls"

    def _points(self, name: str) -> list[Point]:
        calls = {}
        for earlier in (False, True):
            self._prepare(Point(name, earlier, "kill", NEVER))
            self._succeed(name)
            calls[earlier] = calls_of(self._log)
        return points_of(name, calls)

    def _prepare(self, point: Point) -> tuple[str, ...]:
        """Remove a stage's outputs, or make those of an earlier run of them; return their names."""
        outs = self._stages[point.stage].outs
        for name in NOTES:
            shutil.rmtree(self._root / name, ignore_errors=True)
        for out in outs:
            path = self._root / out
            if point.earlier:
                for file in _files_in(path):
                    with file.open("ab") as handle:
                        handle.write(EARLIER)
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        return outs

    def _ended(self, point: Point, call: Call, end: End) -> str | None:
        """Return what is wrong with how a run ended."""
        usual = self._said[point.stage]
        lines = [
            line
            for line in end.stderr.splitlines()
            if line not in usual and not NOTICES.match(line)
        ]
        if "Traceback" in end.stderr:
            return f"a traceback, exit code {end.code}: {_last_line(end.stderr)}"
        if point.kind in ENDING:
            return None if end.code == -9 else f"exit code {end.code}, and no kill"
        if end.code not in (0, 2):
            return f"exit code {end.code}: {_last_line(end.stderr)}"
        if end.code and point.kind == "eintr" and call.name != "open":
            return f"not repeated: {_last_line(end.stderr)}"
        if len(lines) != (end.code == 2):
            return f"exit code {end.code}, and {len(lines)} lines: {' / '.join(lines)}"
        return None

    def _kept(self, outs: tuple[str, ...], before: dict[str, str], end: End) -> str | None:
        """Return what is wrong with the files after a fault."""
        after = {name: digest for name, digest in self._files().items() if not _temporary(name)}
        for out in outs:
            states = [_below(out, files) for files in (after, before, self._whole, {})]
            if end.code == 0 and states[0] != states[2]:
                return f"exit code 0, and {out} is not as it is without a fault"
            if states[0] not in states[1:]:
                return f"{out} is neither whole nor the earlier one nor absent"
        for name in before.keys() | after.keys():
            others = not any(f"{name}/".startswith(f"{out}/") for out in outs)
            if others and before.get(name) != after.get(name):
                return f"{name} of another stage was changed"
        return None

    def _again(self, name: str) -> str | None:
        """Run a stage without a fault; return what is wrong then."""
        end = self._run(name)
        if end.code:
            return f"the next run fails with {end.code}: {_last_line(end.stderr)}"
        if self._files() != self._whole:
            names = sorted(
                path for path, _ in set(self._files().items()) ^ set(self._whole.items())
            )
            return f"the next run gives another {names[0]}"
        if rest := [path for path in (self._root / ".scratch").rglob("*") if path.is_file()]:
            return f"the next run leaves {rest[0].relative_to(self._root)}"
        return None

    def _succeed(self, name: str) -> None:
        end = self._run(name)
        if end.code:
            raise RuntimeError(f"{name} fails without a fault ({end.code}): {end.stderr}")
        self._said.setdefault(name, set()).update(end.stderr.splitlines())

    def _run(self, name: str, target: int = NEVER, kind: str = "kill") -> End:
        """Run a stage in a fork."""
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            code = 1
            try:
                code = self._child(self._stages[name], target, kind)
            finally:
                os._exit(code)
        _, status = os.waitpid(process, 0)
        errors = (self._folder / "stderr").read_text("utf-8", "replace")
        return End(os.waitstatus_to_exitcode(status), errors)

    def _child(self, stage: Stage, target: int, kind: str) -> int:
        for descriptor, file in ((1, "stdout"), (2, "stderr")):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(self._folder / file, flags, 0o600), descriptor)
        os.chdir(self._root)
        sys.argv = [stage.module, *stage.arguments]
        main = importlib.import_module(stage.module).main
        arm(self._root, target, kind, self._log)
        code = 0
        try:
            run(main)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        if target == NEVER and not self._whole:
            self._modules.write_text("\n".join(list(sys.modules)), "utf-8")
        return code

    def _files(self) -> dict[str, str]:
        """Return the digest of every file that is no note."""
        return dict(self._digests())

    def _digests(self) -> Iterator[tuple[str, str]]:
        for path in _files_in(self._root):
            name = path.relative_to(self._root).as_posix()
            if not name.startswith(NOTES):
                yield name, hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _files_in(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file())


def _below(out: str, files: dict[str, str]) -> dict[str, str]:
    return {name: files[name] for name in files if f"{name}/".startswith(f"{out}/")}


def _temporary(name: str) -> bool:
    return any(re.fullmatch(r"\..+\.tmp", part) for part in name.split("/"))


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing on stderr"])[-1][:200]
