"""Ctrl-C and the other signals that ask a command to end.

The first signal raises `Interrupted` in the main thread, so that `with` blocks clean up. A second
signal ends the process at once. So does a signal before a command begins, after it has ended, and
while a module is imported: an exception in the import of a library in C++ may abort the process.
What is then left behind is what a kill leaves, and the next run sweeps it.

Other code may drop the exception. Therefore a timer raises it again until the command has ended or
cleans up.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from westofn.execution import children
from westofn.execution.processes import is_first

EXIT_CODES = {number: 128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
AGAIN_SECONDS = 0.5
IMPORT_SYSTEM = "<frozen importlib._bootstrap>"
UNWRITTEN = "no output is half written, run it again"


class Interrupted(BaseException):
    """A signal asks this process to end; no `except Exception` of a library takes it."""


class _Process:
    """What the handlers know: the command's name, what it keeps, and the first signal."""

    name = "westofn"
    kept = UNWRITTEN
    inside = False
    received = 0
    told = False


def listen_from_start(package: str) -> None:
    """Listen before the modules of a command are imported, if `python -m package…` is starting.

    Args:
        package: Name of the package that is being imported.
    """
    if sys.argv[:1] != ["-m"]:  # `python -m` puts this there while it looks for the module
        return
    module = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    if module.split(".")[0] == package:
        _Process.name = module.rpartition(".")[2]
        _install()
        atexit.register(_ignore)  # registered first, so it runs last


@contextlib.contextmanager
def listening(name: str) -> Iterator[None]:
    """Raise `Interrupted` in the block if a signal arrives.

    Args:
        name: Name of the command.
    """
    _Process.name, _Process.kept, _Process.received, _Process.told = name, UNWRITTEN, 0, False
    earlier = _install()
    hook, sys.unraisablehook = sys.unraisablehook, _unraisable
    _Process.inside = True
    try:
        yield
    finally:
        stop()
        sys.unraisablehook = hook
        for number, handler in earlier.items():
            signal.signal(number, handler)


def stop() -> None:
    """Raise no more: the command has ended, and another signal ends the process."""
    _Process.inside = False
    signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def keeping(what: str) -> Iterator[None]:
    """Say after an interrupt in the block what stays of the work.

    Args:
        what: Such as `finished work stays in .scratch, run it again to go on`.
    """
    earlier, _Process.kept = _Process.kept, what
    yield
    _Process.kept = earlier  # after an interrupt it must stay


def received() -> int:
    """Return the number of the first signal; 0 without one."""
    return _Process.received


def line() -> str:
    """Return the line to print: once, and by the first of the processes that torchrun started."""
    told, _Process.told = _Process.told, True
    if told or not is_first():
        return ""
    return f"{_Process.name}: interrupted; {_Process.kept}"


def _install() -> dict[int, signal._HANDLER]:
    """Install the handlers, except of signals that are ignored (nohup), and return the earlier."""
    earlier: dict[int, signal._HANDLER] = {}
    if threading.current_thread() is not threading.main_thread():
        return earlier  # the system's signals reach the main thread alone
    handlers = dict.fromkeys(EXIT_CODES, _on_signal) | {signal.SIGALRM: _again}
    for number, handler in handlers.items():
        if signal.getsignal(number) is not signal.SIG_IGN:
            earlier[number] = signal.signal(number, handler)
    return earlier


def _ignore() -> None:
    """Let a signal no longer change the exit code, while the interpreter frees its memory."""
    for number in EXIT_CODES:
        signal.signal(number, signal.SIG_IGN)


def _on_signal(number: int, frame: FrameType | None) -> None:
    first, _Process.received = not _Process.received, _Process.received or number
    children.end(at_once=not first)
    if not (first and _Process.inside) or _is_importing(frame):
        if text := line():
            with contextlib.suppress(OSError):  # sys.stderr may be in the middle of a write
                below = "\n" if os.isatty(2) else ""  # a bar, or the ^C that the terminal shows
                os.write(2, f"{below}{text}\n".encode())
        os._exit(EXIT_CODES[signal.Signals(number)])
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)
    raise Interrupted


def _again(_: int, frame: FrameType | None) -> None:
    importing = _is_importing(frame)  # the timer comes again
    if _Process.received and not importing and not _cleans_up(sys.exception()):
        raise Interrupted


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False


def _unraisable(dropped: sys.UnraisableHookArgs) -> None:
    """Say nothing about an interrupt that a destructor dropped; the timer raises it again."""
    if not isinstance(dropped.exc_value, Interrupted):
        sys.__unraisablehook__(dropped)


def _cleans_up(error: BaseException | None) -> bool:
    """Return whether an interrupt is being handled, so `with` and `finally` blocks are running."""
    while error is not None:
        if isinstance(error, Interrupted):
            return True
        error = error.__context__
    return False
