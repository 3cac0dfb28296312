"""Work in shards that are written atomically, so that a killed run can be resumed."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import polars as pl

from westofn.artifacts.table import Table
from westofn.errors import DataError
from westofn.execution.damage import drop
from westofn.execution.job import Item, Job, Work
from westofn.progress import working
from westofn.runtime import load_runtime


def run_shards(
    items: Sequence[Item],
    work: Work[Item] | Job[Item],
    *,
    table: Table,
    folder: Path,
    size: int,
    description: str,
    unit: str = "prompts",
) -> pl.DataFrame:
    """Apply `work` to consecutive groups of items and concatenate the results.

    The arguments are those of `shard_files`.
    """
    files = shard_files(
        items,
        work,
        table=table,
        folder=folder,
        size=size,
        description=description,
        unit=unit,
    )
    return pl.concat(map(table.read, files))


def shard_files(
    items: Sequence[Item],
    work: Work[Item] | Job[Item],
    *,
    table: Table,
    folder: Path,
    size: int,
    description: str,
    unit: str = "prompts",
) -> list[Path]:
    """Apply `work` to consecutive groups of items; return the files of the results, in order.

    This process writes the shards, wherever they are computed. `Table.gather` makes one table of
    them without holding it in memory.

    Args:
        items: Items to work on; their order and `size` determine the shards.
        work: A function runs in this process, a job where `executor` of runtime.toml says.
        table: Table that validates every shard. A shard of an earlier run that is damaged is
            removed with one line on stderr, and computed again.
        folder: Scratch folder that belongs to exactly these items and this work.
        size: Number of items in a shard.
        description: Text next to the progress bar.
        unit: Plural name of the items.
    """
    groups = {
        folder / f"{start:08d}.parquet": items[start : start + size]
        for start in range(0, len(items), size)
    }
    missing = {}
    with working(description, len(items), unit) as progress:
        for path, group in groups.items():
            if _is_finished(path, table, description):
                progress.skip(len(group))
            else:
                missing[path] = group
        with closing(_computed(work, missing, description)) as results:
            for path, frame in results:
                table.write(frame, path)
                progress.advance(len(groups[path]))
    return list(groups)


def _computed(
    work: Work[Item] | Job[Item], groups: Mapping[Path, Sequence[Item]], description: str
) -> Generator[tuple[Path, pl.DataFrame], None, None]:
    """Yield the frames of groups with their paths, as soon as each is there."""
    if not groups:
        return
    if isinstance(work, Job):
        runtime = load_runtime()
        if runtime.executor == "ray":
            from westofn.execution.ray_shards import on_workers

            yield from on_workers(work, groups, runtime, description)
            return
        work = partial(work.work, work.load())
    for path, group in groups.items():
        yield path, work(group)


def _is_finished(path: Path, table: Table, name: str) -> bool:
    """Return whether an earlier run wrote a shard; one that was damaged since is dropped."""
    if not path.exists():
        return False
    try:
        table.read(path)
    except DataError as error:
        drop(name, path, str(error), "this shard is computed again")
        return False
    return True
