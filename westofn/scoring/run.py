"""Score a file or stdin into a file or stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from westofn.artifacts.stream import whole_file
from westofn.errors import DataError
from westofn.execution.progress import bar
from westofn.models.ensemble import load_reward_models
from westofn.runtime import load_runtime, set_up_torch
from westofn.scoring.rows import read_rows
from westofn.scoring.stream import Scored, score_stream
from westofn.sources.json_lines import opened

STANDARD = Path("-")
"""Path that means stdin or stdout."""


def score_file(source: Path, model: Path, out: Path, batch: int) -> Scored:
    """Score the rows of a JSONL file.

    An output file is written atomically; stdout gets every chunk when it is scored.

    Args:
        source: JSONL file, compressed if the name ends with .gz, or `STANDARD`.
        model: Folder of a reward model or an ensemble.
        out: File for the scored rows, or `STANDARD`.
        batch: Number of responses in one forward pass.

    Raises:
        DataError: A file cannot be read or written, or `read_rows` refuses a row.
        ModelError: The folder contains no reward model, or the model cannot score these rows.
    """
    with _opened(source) as lines:
        ensemble = load_reward_models(model, set_up_torch(load_runtime()))
        name = "stdin" if source == STANDARD else str(source)
        with _written(out) as sink, bar("rows") as progress:
            total = None if progress.disable else _count(source)
            task = progress.add_task("scoring", total=total)

            def write(chunk: bytes) -> None:
                sink.write(chunk)
                sink.flush()

            return score_stream(
                ensemble,
                read_rows(lines, name),
                batch=batch,
                write=write,
                advance=lambda rows: progress.advance(task, rows),
            )


@contextmanager
def _opened(source: Path) -> Iterator[BinaryIO]:
    if source == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        handle = opened(source)
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror}); give a JSONL file") from None
    with handle:
        yield handle


@contextmanager
def _written(out: Path) -> Iterator[BinaryIO]:
    if out == STANDARD:
        yield sys.stdout.buffer
        return
    with whole_file(out) as handle:
        yield handle


def _count(source: Path) -> int | None:
    """Count the lines of a file; return None for streams and compressed files."""
    if source == STANDARD or source.suffix == ".gz" or not source.is_file():
        return None
    with source.open("rb") as lines:
        return sum(1 for _ in lines)
