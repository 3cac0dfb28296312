"""Stage 0, `check`: params.yaml -> a constant, so that a wrong value fails in seconds.

reads   params.yaml (all of it); of files and models that it names, what shows that they cannot work
writes  data/check/ok

The output never changes, so checking again after a change invalidates nothing downstream.
"""

from __future__ import annotations

import typer

from stages.common import Out, run
from westofn.artifacts.atomic import write_bytes
from westofn.errors import WestofnError
from westofn.params.file import how_to_undo
from westofn.params.whole import load_params
from westofn.preflight.entries import require_entries
from westofn.preflight.foresee import foresee
from westofn.preflight.machine import require_device
from westofn.runtime import load_runtime


def main(out: Out) -> None:
    """Validate every parameter, the runtime settings, and what they name."""
    params, runtime = load_params(), load_runtime()
    require_device(runtime)
    try:
        warnings = foresee(params, runtime)
        require_entries(params)
    except WestofnError as error:
        raise type(error)(f"{error}{how_to_undo()}") from None
    for line in warnings:
        typer.secho(f"check: warning: {line}", fg="yellow", err=True)
    write_bytes(b"ok\n", out)


if __name__ == "__main__":
    run(main)
