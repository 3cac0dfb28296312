"""Beside the pipeline, `code`: the code of every stage -> digests that the stages depend on.

reads   westofn/, stages/
writes  data/code/NAME.json

Comments, docstrings and layout are in no digest. `--dry-run` writes nothing and names the stages
that the code as it is now would rerun, with the files that changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stages.common import Out, run
from westofn.artifacts.json_file import read_json, write_json
from westofn.execution.code_digest import changed_files, digests_of_stages

ROOT = Path(__file__).resolve().parents[1]


def main(
    out: Out,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would change")] = False,
) -> None:
    """Write the digests of what every stage imports."""
    for stage, digests in digests_of_stages(ROOT).items():
        path = out / f"{stage}.json"
        if not dry_run:
            write_json(digests, path)
        elif files := changed_files(read_json(path) if path.exists() else {}, digests):
            typer.echo(f"{stage}: {', '.join(files)}")


if __name__ == "__main__":
    run(main)
