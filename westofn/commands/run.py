"""Run a command-line app, report expected errors, and print to terminals of every kind."""

from __future__ import annotations

import json
import sys

import typer

from westofn.errors import ParameterError
from westofn.execution.ending import run_to_its_end
from westofn.plain_text import visible_json
from westofn.terminal import Terminal

MIN_WIDTH = 80
"""Tables fit this width; a narrower terminal wraps their lines, and no column is dropped."""


def run_app(app: typer.Typer, name: str) -> None:
    """Run a command and exit; see `westofn.execution.ending` for how it may end."""
    is_closed = sys.stdout is None

    def work() -> int | None:
        if is_closed:
            raise ParameterError("stdout is closed, needs a place for results such as /dev/null")
        app()
        return None

    sys.exit(run_to_its_end(name, work, " ".join([name, *sys.argv[1:2]])))


def console() -> Terminal:
    """Return a console on stdout that is wide enough for every table."""
    terminal = Terminal()
    return terminal if terminal.width >= MIN_WIDTH else Terminal(width=MIN_WIDTH)


def print_json(value: object) -> None:
    """Print JSON to stdout; control characters, and what its encoding may not have, are escaped."""
    is_unicode = sys.stdout is not None and sys.stdout.encoding.lower().startswith("utf")
    typer.echo(visible_json(json.dumps(value, indent=2, ensure_ascii=not is_unicode)))
