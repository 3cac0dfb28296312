"""What checksums cost: of a model's files on load, and of a table on write and on read.

    python -m benchmarks.bench_integrity

The times are medians of several rounds on files that the system has in memory.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer

from westofn.artifacts.integrity import checksums, difference
from westofn.artifacts.prompts import PROMPTS

MIB = 1 << 20


def main(
    mebibytes: Annotated[int, typer.Option(help="size of the weights")] = 500,
    shards: Annotated[int, typer.Option(help="files of sharded weights")] = 5,
    rows: Annotated[int, typer.Option(help="rows of the table")] = 10**6,
    rounds: Annotated[int, typer.Option()] = 5,
) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        _models(Path(name), mebibytes, shards, rounds)
        _tables(Path(name) / "prompts.parquet", rows, rounds)


def _models(root: Path, mebibytes: int, shards: int, rounds: int) -> None:
    for files in (1, shards):
        folder = root / f"of-{files}"
        folder.mkdir()
        for index in range(files):
            content = os.urandom(mebibytes // files * MIB)
            (folder / f"model-{index}.safetensors").write_bytes(content)
        seconds = _median(partial(difference, folder, checksums(folder)), rounds)
        print(f"weights of {mebibytes} MiB in {files} files: {seconds:.2f} s to check")


def _tables(path: Path, rows: int, rounds: int) -> None:
    words = np.array(["a", "post", "about", "cat", "sat", "under", "blue", "tree", "sang"])
    texts = words[np.random.default_rng(0).integers(0, len(words), (rows, 16))]
    frame = PROMPTS.frame(
        {
            "prompt_id": [f"p{row:08d}" for row in range(rows)],
            "prompt": [" ".join(text) for text in texts],
            "split": ["test"] * rows,
        }
    )
    write = _median(lambda: PROMPTS.write(frame, path), rounds)
    read = _median(lambda: PROMPTS.read(path), rounds)
    parquet = _median(lambda: pl.read_parquet(path), rounds)
    check = _median(lambda: PROMPTS._require_sound(path), rounds)
    print(
        f"table of {rows} rows, {path.stat().st_size / MIB:.1f} MiB: "
        f"{1000 * check:.0f} ms to check; "
        f"{write:.2f} s to write, {read:.2f} s to read and validate, {parquet:.2f} s to read alone"
    )


def _median(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    typer.run(main)
