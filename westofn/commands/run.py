"""Run a command-line app and report expected errors."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from westofn.artifacts.atomic import refusal
from westofn.errors import WestofnError

CLOSED_PIPE = 141
"""Exit code of a program whose reader left, as shells report it: 128 + SIGPIPE."""


def run_app(app: typer.Typer, name: str) -> None:
    """Run a command; an expected error is one line on stderr.

    The exit code is 2, or `CLOSED_PIPE` where the reader of stdout left before its end.
    """
    try:
        _run_and_flush(app)
    except WestofnError as error:
        _end(f"{name}: {error}", 2)
    except BrokenPipeError:
        _leave_stdout()
        _end(f"{name}: stdout was closed before all was written", CLOSED_PIPE)
    except OSError as error:
        mend = refusal(error)
        if error.filename is not None or not mend:
            raise
        _leave_stdout()
        _end(f"{name}: stdout: cannot be written: {mend}", 2)


def _run_and_flush(app: typer.Typer) -> None:
    """Run a command and write all of stdout, which would fail with a traceback when Python ends."""
    try:
        app()
    except SystemExit as end:  # every command of typer's ends with it
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        sys.stdout.flush()
        raise


def _leave_stdout() -> None:
    """Let what is still to be written to stdout vanish."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _end(message: str, code: int) -> NoReturn:
    typer.secho(message, fg="red", err=True)
    sys.exit(code)
