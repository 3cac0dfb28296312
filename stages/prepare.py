"""Stage 1 of 9, `prepare`: a source -> SFT examples, preferences, prompts, and the world's facts.

reads   prepare.path, prepare.sft_path, prepare.unlabeled_path, or the hub; prepare.answers_path
writes  data/prepared/{sft,preferences,prompts}.parquet, counts.json, leakage.json;
        data/world/world.parquet
"""

from __future__ import annotations

from pathlib import Path

import typer

from stages.common import Out, run
from westofn.artifacts.atomic import whole_folder
from westofn.artifacts.json_file import write_json
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.sft import SFT
from westofn.artifacts.world import WORLD
from westofn.execution.account import tell
from westofn.execution.guards import leakage_readings, tell_readings
from westofn.execution.stage_accounts import prepare_account
from westofn.params.file import load_section, load_seed
from westofn.params.prepare import PrepareParams
from westofn.sources.answers import add_answers
from westofn.sources.data import SourceData
from westofn.sources.leakage import leakage


def main(out: Out, world: Out) -> None:
    """Read the source, split it by prompt, and write the canonical tables."""
    params = load_section(PrepareParams)
    data = _load(params, load_seed())
    if params.answers == "file":
        data = add_answers(data, Path(params.answers_path))
    if account := prepare_account(data.counts):
        tell(account)
    for line in data.warnings:
        typer.secho(f"prepare: warning: {line}", fg="yellow", err=True)
    shared = leakage(data)
    tell_readings(leakage_readings(shared))
    unread = {"unread_columns": list(data.unread)} if data.unread else {}
    with whole_folder(out) as tables, whole_folder(world) as facts:  # data/world first
        SFT.write(data.sft, tables / "sft.parquet")
        PREFERENCES.write(data.preferences, tables / "preferences.parquet")
        PROMPTS.write(data.prompts, tables / "prompts.parquet")
        write_json({**data.counts, **unread}, tables / "counts.json")
        write_json(shared, tables / "leakage.json")
        WORLD.write(data.world, facts / "world.parquet")


def _load(params: PrepareParams, seed: int) -> SourceData:
    if params.source == "world":
        from westofn.sources.world import load_world

        return load_world(params.world, seed)
    from westofn.sources.registry import load_preferences

    return load_preferences(params, seed)


if __name__ == "__main__":
    run(main)
