"""Work in shards that are written atomically, so that a killed run can be resumed."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

import polars as pl

from westofn.artifacts.table import Table
from westofn.errors import DataError
from westofn.execution.damage import drop
from westofn.execution.job import Group, Job, Work
from westofn.progress import working
from westofn.runtime import load_runtime

Item = TypeVar("Item")


def shard_files(
    items: Sequence[Item],
    work: Work[Sequence[Item]] | Job[Sequence[Item]],
    *,
    table: Table,
    folder: Path,
    size: int,
    description: str,
    unit: str = "prompts",
) -> list[Path]:
    """Apply `work` to consecutive groups of items; return the files of the results, in order.

    Args:
        items: Items to work on; their order and `size` determine the shards.
        work: See `group_files`, as for what is not named here.
        table: Table that validates every shard.
        folder: Scratch folder that belongs to exactly these items and this work.
        size: Number of items in a shard.
        description: Text next to the progress bar.
        unit: Plural name of the items.
    """
    return group_files(
        (items[start : start + size] for start in range(0, len(items), size)),
        work,
        table=table,
        folder=folder,
        total=len(items),
        description=description,
        unit=unit,
    )


def group_files(
    groups: Iterable[Group],
    work: Work[Group] | Job[Group],
    *,
    table: Table,
    folder: Path,
    total: int | None,
    description: str,
    unit: str = "prompts",
) -> list[Path]:
    """Apply `work` to groups of items; return the files of the results, in order.

    A group is taken when its turn comes, so an iterator that reads them from a file holds few of
    them in memory. This process writes the shards, wherever they are computed. `Table.gather` makes
    one table of them without holding it in memory.

    Args:
        groups: Groups of items; a shard is named by the number of items before it.
        work: A function runs in this process, a job where `executor` of runtime.toml says.
        table: Table that validates every shard. A shard of an earlier run that is damaged is
            removed with one line on stderr, and computed again.
        folder: Scratch folder that belongs to exactly these groups and this work.
        total: Number of items in all groups, if it is known.
        description: Text next to the progress bar.
        unit: Plural name of the items.
    """
    sizes: dict[Path, int] = {}
    with working(description, total, unit) as progress:

        def unfinished() -> Iterator[tuple[Path, Group]]:
            start = 0
            for group in groups:
                path = folder / f"{start:08d}.parquet"
                sizes[path] = len(group)
                start += len(group)
                if _is_finished(path, table, description):
                    progress.skip(len(group))
                else:
                    yield path, group

        with closing(_computed(work, unfinished(), description)) as results:
            for path, frame in results:
                table.write(frame, path)
                progress.advance(sizes[path])
    return list(sizes)


def _computed(
    work: Work[Group] | Job[Group], groups: Iterator[tuple[Path, Group]], description: str
) -> Generator[tuple[Path, pl.DataFrame], None, None]:
    """Yield the frames of groups with their paths, as soon as each is there."""
    first = next(groups, None)
    if first is None:  # so that nothing is loaded
        return
    groups = chain([first], groups)
    if isinstance(work, Job):
        runtime = load_runtime()
        if runtime.executor == "ray":
            from westofn.execution.ray_shards import on_workers

            yield from on_workers(work, groups, runtime, description)
            return
        work = partial(work.work, work.load())
    for path, group in groups:
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
