"""Work in named shards: each is committed by a rename, so a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import polars as pl

from westofn.artifacts.table import Table
from westofn.execution.progress import track

Item = TypeVar("Item")


def run_shards(
    items: Sequence[Item],
    work: Callable[[Sequence[Item]], pl.DataFrame],
    *,
    table: Table,
    folder: Path,
    size: int,
    description: str,
) -> pl.DataFrame:
    """Apply `work` to consecutive groups of items and put the results end to end.

    Args:
        items: What to work on; their order and `size` name the shards.
        work: One group to a frame of the table's schema.
        table: Validates every shard, also those that an earlier run committed.
        folder: A scratch folder that belongs to exactly these items and this work.
        size: Items in a shard.
        description: Shown beside the progress bar.
    """
    frames = []
    starts = range(0, len(items), size)
    for start in track(starts, description, unit="shards"):
        path = folder / f"{start:08d}.parquet"
        if not path.exists():
            table.write(work(items[start : start + size]), path)
        frames.append(table.read(path))
    return pl.concat(frames)
