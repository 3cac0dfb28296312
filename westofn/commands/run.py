"""How a command that is no stage ends."""

from __future__ import annotations

import sys

import typer

from westofn.errors import WestofnError


def run_app(app: typer.Typer, name: str) -> None:
    """Run a command; an expected error is one line on stderr, after `name`, and exit code 2."""
    try:
        app()
    except WestofnError as error:
        typer.secho(f"{name}: {error}", fg="red", err=True)
        sys.exit(2)
