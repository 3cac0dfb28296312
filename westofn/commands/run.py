"""Run a command-line app and report expected errors."""

from __future__ import annotations

import sys

import typer

from westofn.errors import WestofnError


def run_app(app: typer.Typer, name: str) -> None:
    """Run a command; print an expected error as one line on stderr and exit with code 2."""
    try:
        app()
    except WestofnError as error:
        typer.secho(f"{name}: {error}", fg="red", err=True)
        sys.exit(2)
