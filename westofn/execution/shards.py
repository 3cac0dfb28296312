"""Work in shards that are written atomically, so that a killed run can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import polars as pl

from westofn.artifacts.table import Table
from westofn.errors import DataError
from westofn.execution.damage import drop
from westofn.progress import working

Item = TypeVar("Item")


def run_shards(
    items: Sequence[Item],
    work: Callable[[Sequence[Item]], pl.DataFrame],
    *,
    table: Table,
    folder: Path,
    size: int,
    description: str,
    unit: str = "prompts",
) -> pl.DataFrame:
    """Apply `work` to consecutive groups of items and concatenate the results.

    Args:
        items: Items to work on; their order and `size` determine the shards.
        work: Function from a group of items to a frame with the table's schema.
        table: Table that validates every shard. A shard of an earlier run that is damaged is
            removed with one line on stderr, and computed again.
        folder: Scratch folder that belongs to exactly these items and this work.
        size: Number of items in a shard.
        description: Text next to the progress bar.
        unit: Plural name of the items.
    """
    frames = []
    with working(description, len(items), unit) as progress:
        for start in range(0, len(items), size):
            path, group = folder / f"{start:08d}.parquet", items[start : start + size]
            frame = _finished(path, table, description)
            if frame is None:
                table.write(work(group), path)
                frame = table.read(path)
                progress.advance(len(group))
            else:
                progress.skip(len(group))
            frames.append(frame)
    return pl.concat(frames)


def _finished(path: Path, table: Table, name: str) -> pl.DataFrame | None:
    """Read a shard of an earlier run; None if there is none, or it was damaged and is dropped."""
    if not path.exists():
        return None
    try:
        return table.read(path)
    except DataError as error:
        drop(name, path, str(error), "this shard is computed again")
        return None
