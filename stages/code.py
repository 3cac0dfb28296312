"""Beside the pipeline, `code`: the code of every stage -> digests that the stages depend on.

reads   stages/, westofn/, plugins/
writes  data/code/NAME.json of every stage, data/code/{base_rm.loss,student_rm.loss}.json and
        data/code/won_select.selector.json of the files in plugins/ that parameters name

Comments, docstrings and layout are in no digest. `--dry-run` writes nothing and names the digests
that the code as it is now would change, with the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stages.common import Out, run
from westofn.artifacts.atomic import whole_folder
from westofn.artifacts.json_file import read_json, write_json
from westofn.execution.code_digest import changed_files, digests_of_plugin, digests_of_stages
from westofn.params.base_rm import BaseRmParams
from westofn.params.file import load_section
from westofn.params.student_rm import StudentRmParams
from westofn.params.won_select import WonSelectParams
from westofn.plugins import plugin_module

ROOT = Path(__file__).resolve().parents[1]


def main(
    out: Out,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would change")] = False,
) -> None:
    """Write the digests of what every stage imports, and of the plugins that parameters name."""
    entries = {
        "base_rm.loss": load_section(BaseRmParams).loss,
        "student_rm.loss": load_section(StudentRmParams).loss,
        "won_select.selector": load_section(WonSelectParams).selector,
    }
    plugins = {key: digests_of_plugin(ROOT, plugin_module(entries[key])) for key in entries}
    code = {**digests_of_stages(ROOT), **plugins}
    if not dry_run:
        with whole_folder(out) as place:
            for name, digests in code.items():
                write_json(digests, place / f"{name}.json")
        return
    for name, digests in code.items():
        path = out / f"{name}.json"
        if files := changed_files(read_json(path) if path.exists() else {}, digests):
            typer.echo(f"{name}: {', '.join(files)}")


if __name__ == "__main__":
    run(main)
