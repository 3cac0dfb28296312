"""Processes that a command starts; a signal to the command ends them too."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

_groups: set[int] = set()


def run_group(
    command: Sequence[str],
    environment: Mapping[str, str],
    say: Callable[[str], None] = lambda line: None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process group of its own and return both of its streams as one text.

    The group has the command's own children too. `end` reaches them all, even if the terminal or
    a supervisor signals this process alone.

    Args:
        command: Program and arguments.
        environment: All of its environment variables.
        say: Called with every line, without its end, as soon as it is printed.
        folder: Working folder; None for that of this process.
    """
    lines = []
    with _group(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,  # a group in the background would be stopped by reading
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            say(line.rstrip("\n"))
        process.wait()
    return subprocess.CompletedProcess(command, process.returncode, "".join(lines))


@contextlib.contextmanager
def beside(
    command: Sequence[str], environment: Mapping[str, str], log: TextIO
) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a process group of its own beside the block, which talks to it by pipes.

    The group is killed where the block ends.

    Args:
        command: Program and arguments.
        environment: All of its environment variables.
        log: Takes its stderr.
    """
    with _group(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(BrokenPipeError):  # what the group has not read
                if process.stdin:
                    process.stdin.close()


@contextlib.contextmanager
def _group(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a process group that `end` reaches, and wait for it."""
    with subprocess.Popen(
        command, text=True, errors="replace", process_group=0, **options
    ) as process:
        _groups.add(process.pid)
        try:
            yield process
        finally:
            _groups.discard(process.pid)


def end(*, at_once: bool) -> None:
    """End the processes that this one started.

    Args:
        at_once: Kill them; otherwise they are interrupted and may clean up.
    """
    for group in list(_groups):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL if at_once else signal.SIGINT)
    if multiprocessing := sys.modules.get("multiprocessing"):
        for child in multiprocessing.active_children():
            child.kill() if at_once else child.terminate()
