"""The kinds of faults, the library that makes them happen, and the log of calls that it writes."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
KINDS = ("enospc", "eio", "eintr", "kill", "torn", "power")
"""
enospc: the disk is full from this call on; a write that meets it writes a half first.
eio: this call fails, the next one does not.
eintr: a signal interrupts this call, which the caller has to repeat.
kill: SIGKILL before this call.
torn: SIGKILL after a half of this write.
power: SIGKILL before this call, and of files that were written and not flushed a half is lost.
"""
ENDING = ("kill", "torn", "power")
"""The kinds that end the process."""
NUMBERS = {kind: number for number, kind in enumerate(KINDS, start=1)} | {"power": 4}
"""The numbers of `shim.c`, to which a power failure is a kill."""
CALLS = {"torn": ("write",), "eintr": ("open", "write", "fsync")}
"""Kinds that only some calls can meet."""
NEVER = -1


@dataclass(frozen=True)
class Call:
    """A call that changes something below the folder; `to` is the new name of a rename."""

    name: str
    path: str
    to: str = ""


def build(folder: Path) -> Path:
    """Compile the library into a folder.

    Raises:
        OSError: There is no compiler `cc`.
        subprocess.CalledProcessError: The compiler refuses the source.
    """
    library = folder / "shim.so"
    command = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


def arm(root: Path, target: int, kind: str, log: Path) -> None:
    """Let call `target` of this process below `root` meet a fault; needs the library preloaded.

    Args:
        root: Folder whose calls are counted, from 0.
        target: Number of the call; `NEVER` counts alone.
        kind: One of `KINDS`.
        log: File outside `root` to which the calls are appended.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    start = ctypes.CDLL(None).soak_arm
    start.argtypes = (ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int)
    start(os.fsencode(root), target, NUMBERS[kind], descriptor)


def calls_of(log: Path) -> list[Call]:
    """Read a log of calls."""
    calls = []
    for line in log.read_text("utf-8", "replace").splitlines():
        name, _, paths = line.partition(" ")
        calls.append(Call(name, *paths.split("\t")))
    return calls


def unflushed(calls: Sequence[Call]) -> set[str]:
    """Return the paths of files that were written after they were last flushed to disk.

    >>> unflushed([Call("open", "/a"), Call("write", "/a"), Call("rename", "/a", "/b")])
    {'/b'}
    """
    paths: set[str] = set()
    for call in calls:
        if call.name == "write":
            paths.add(call.path)
        elif call.name in ("fsync", "unlink"):
            paths.discard(call.path)
        elif call.name == "rename":
            inside = {path for path in paths if f"{path}/".startswith(f"{call.path}/")}
            paths = paths - inside | {call.to + path.removeprefix(call.path) for path in inside}
    return paths


def lose_power(calls: Sequence[Call]) -> None:
    """Cut every file in half that was written and not flushed, as a power failure may."""
    for name in unflushed(calls):
        path = Path(name)
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)
