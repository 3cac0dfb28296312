"""How a command ends: after its work, an expected error, a signal, or when nobody reads its output.

| end | exit code | stderr |
|---|---|---|
| expected error; full disk | 2 | one line |
| SIGINT, SIGTERM, SIGHUP | 130, 143, 129 | one line |
| the reader of a pipe has left (`| head`) | 141 | nothing |
| any other error, a bug | 1 | traceback |
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import typer

from westofn.artifacts.atomic import refusal
from westofn.errors import WestofnError
from westofn.execution import interrupts
from westofn.execution.processes import is_first
from westofn.plain_text import WIDTH, wrapped

PIPE_CLOSED = 128 + signal.SIGPIPE
INTERRUPTED = interrupts.EXIT_CODES[signal.SIGINT]
OUTPUT, ERRORS = 1, 2
"""The descriptors of standard output and standard error."""
REPLACED = "westofn.replaced"
"""Name of the error handler of encodings."""
ASCII_SIGNS = {"\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{PLUS-MINUS SIGN}": "+-"}
WAIT_FOR_FIRST = 5.0
"""Seconds that the error of another process waits for the same error of the first one."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def run_to_its_end(name: str, work: Callable[[], int | None], place: str = "") -> int:
    """Run a command and return its exit code; an end that the table of this module has exits.

    Characters that the encoding of standard output does not have are replaced; a minus stays one.

    Args:
        name: Name of the command, with which its lines begin.
        work: The command; returns an exit code or None, or exits as typer does.
        place: What was interrupted, if that is more than the name.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error(REPLACED, _replaced)
        sys.stdout.reconfigure(errors=REPLACED)
    elif sys.stdout is None and os.open(os.devnull, os.O_WRONLY) == OUTPUT:  # it was closed
        sys.stdout = os.fdopen(OUTPUT, "w")
    with interrupts.listening(place or name):
        try:
            code = _code(work)
            _flush()
            if code == INTERRUPTED or interrupts.received():  # typer took the exception
                raise KeyboardInterrupt
        except BaseException as error:
            interrupts.stop()
            _end(name, error)
            raise
    return code


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(ASCII_SIGNS.get(character, "?") for character in text), error.end


def _code(work: Callable[[], int | None]) -> int:
    try:
        return work() or 0
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer and rich exit with 1
            raise end.__context__ from None
        return end.code if isinstance(end.code, int) else int(end.code is not None)


def _end(name: str, error: BaseException) -> None:
    """Exit as the table of this module says; return if the error is a bug."""
    refused = _refused_output(error)
    number = interrupts.received()
    if number or isinstance(error, KeyboardInterrupt):
        _say(interrupts.line())
        sys.exit(interrupts.EXIT_CODES[signal.Signals(number or signal.SIGINT)])
    if isinstance(error, BrokenPipeError) and any(map(_leads_nowhere, (OUTPUT, ERRORS))):
        _silence(OUTPUT, ERRORS)
        sys.exit(PIPE_CLOSED)
    if refused:
        error = WestofnError(f"stdout: cannot be written: {refusal(refused) or refused.strerror}")
    if isinstance(error, WestofnError):
        if not is_first():  # the launcher ends this process if the first one has ended
            time.sleep(WAIT_FOR_FIRST)
        text = str(error)
        _say(text if text.startswith(f"{name}:") else f"{name}: {text}")
        sys.exit(2)
    if isinstance(error, OSError) and error.errno in FULL and _tried(ERRORS, b""):
        _silence(ERRORS)
        sys.exit(2)


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _refused_output(error: BaseException) -> OSError | None:
    """Return why standard output cannot be written, after which nothing tries it again."""
    cause = error if isinstance(error, OSError) else error.__cause__
    refused = None
    try:
        _flush()
    except OSError as failure:
        refused = failure
    is_full = isinstance(cause, OSError) and cause.errno in FULL and not cause.filename
    if is_full and not refused and not _tried(ERRORS, b""):
        refused = _tried(OUTPUT, b"\n")  # a stream that failed keeps nothing to flush again
    if refused:
        _silence(OUTPUT)
    return refused


def _tried(stream: int, content: bytes) -> OSError | None:
    """Return why a descriptor refuses to be written to; None if it does not."""
    try:
        os.write(stream, content)
    except OSError as error:
        return error
    return None


def _say(text: str) -> None:
    """Print a line to stderr, in a terminal wrapped at words; nothing if that is refused."""
    try:
        if text:
            first, *others = text.split("\n")
            if sys.stderr is not None and sys.stderr.isatty():
                first = wrapped(first, os.get_terminal_size(sys.stderr.fileno()).columns or WIDTH)
            typer.secho("\n".join([first, *others]), fg="red", err=True)
    except OSError:
        _silence(ERRORS)


def _leads_nowhere(stream: int) -> bool:
    """Return whether a descriptor is a pipe that nobody reads, or what rich puts there then."""
    watch = select.poll()
    watch.register(stream, select.POLLOUT)
    left = any(event & select.POLLERR for _, event in watch.poll(0))
    return left or os.path.samestat(os.fstat(stream), Path(os.devnull).stat())


def _silence(*streams: int) -> None:
    """Let descriptors lead nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream)
    os.close(nowhere)
