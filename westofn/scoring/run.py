"""Score a file or stdin into a file or stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from westofn.artifacts.stream import whole_file
from westofn.errors import DataError
from westofn.models.ensemble import load_reward_models
from westofn.progress import working
from westofn.runtime import load_runtime, set_up_torch
from westofn.scoring.rows import Faults, read_rows
from westofn.scoring.stream import Scored, score_stream
from westofn.scoring.writing import JsonLines, Writer, writer_to
from westofn.sources.columns import Columns
from westofn.sources.formats.recognise import HEAD
from westofn.sources.json_lines import JsonLine, as_data_errors, json_lines, json_rows, opened
from westofn.sources.reading import files_of, is_json, require_source, rows_of

STANDARD = Path("-")
"""Path that means stdin or stdout."""


def score_file(
    source: Path,
    model: Path,
    out: Path,
    batch: int,
    columns: Columns,
    dropped: Faults | None = None,
) -> Scored:
    """Score the rows of a file.

    An output file is written atomically; stdout gets every chunk when it is scored.

    Args:
        source: A file that `rows_of` reads, or `STANDARD`: JSON lines.
        model: Folder of a reward model or an ensemble.
        out: File for the scored rows that `require_file_name` and `require_ending` accept, or
            `STANDARD`: JSON lines.
        batch: Number of responses in one forward pass.
        columns: Columns that the user named; the others are recognised.
        dropped: Counts rows that cannot be read; None: such a row is an error.

    Raises:
        DataError: A file cannot be read or written, or `read_rows` refuses a row.
        ModelError: The folder contains no reward model, or the model cannot score these rows.
    """
    raw = lines_of(source)
    ensemble = load_reward_models(model, set_up_torch(load_runtime()))
    name, head = ("stdin", 1) if source == STANDARD else (str(source), HEAD)
    rows = read_rows(raw, name, given=columns, head=head, dropped=dropped)
    with (
        _output(out, source) as writer,
        working(f"scoring {source.name}", _count(source), "rows") as progress,
    ):
        return score_stream(
            ensemble,
            rows,
            batch=batch,
            write=writer.write,
            advance=progress.advance,
        )


def lines_of(source: Path) -> Iterator[JsonLine]:
    """Return the rows of a file, of the only file in a folder, or of stdin, with their faults.

    Raises:
        DataError: There is no such file, or the folder has several.
    """
    if source == STANDARD:
        return json_lines(sys.stdin.buffer, "stdin", keep_faulty=True)
    require_source(source)
    files = files_of(source, "FILE") if source.is_dir() else [source]
    if len(files) > 1:
        raise DataError(f"{source}: the folder has {len(files)} files; give one of them")
    (file,) = files
    if is_json(file):
        return _json(file)
    rows = rows_of(file, keep_faulty=True)
    return (JsonLine(row.where, "", dict(row.values), row.fault) for row in rows)


def _json(file: Path) -> Iterator[JsonLine]:
    """Yield the rows of a JSON file with their texts, which `rows_of` does not keep."""
    with as_data_errors(str(file)), opened(file) as handle:
        yield from json_rows(handle, str(file), keep_faulty=True)


@contextmanager
def _output(out: Path, source: Path) -> Iterator[Writer]:
    if out == STANDARD:
        yield JsonLines(sys.stdout.buffer)
        return
    with whole_file(out) as handle:
        writer = writer_to(handle, out.suffix, source)
        yield writer
        writer.close()


def _count(source: Path) -> int | None:
    """Count the lines of a file of JSON lines; return None for any other source."""
    if source.suffix not in (".jsonl", ".ndjson"):
        return None
    with source.open("rb") as lines:
        return sum(1 for _ in lines)
