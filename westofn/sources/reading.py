"""Read raw rows of files lazily; each row has its location (file, and line or row).

Supported are JSONL (also gzipped), CSV, Parquet, folders of these, and folders that `datasets`
wrote. The meaning of columns is defined in `westofn/sources/formats/`.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from westofn.artifacts.table import show
from westofn.errors import DataError
from westofn.sources.json_lines import json_lines, opened, unreadable

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".csv", ".parquet")

_ROWS_AT_ONCE = 1024
_MAX_CELL = 2**31 - 1
# Files without rows that `datasets` and the hub write.
_SAVED, _SAVED_SPLITS = "state.json", "dataset_dict.json"
_NO_ROWS = (_SAVED, _SAVED_SPLITS, "dataset_info.json", "dataset_infos.json")


class Row(NamedTuple):
    """A raw row and its location in error messages, such as `pairs.jsonl:17`."""

    where: str
    values: Mapping[str, object]


def files_of(path: Path, key: str) -> list[Path]:
    """List the data files at a path, sorted: the file itself, or files at any depth in a folder.

    A folder that `datasets` saved counts as one file. Names with a leading dot are skipped.

    Args:
        path: a file or folder.
        key: name of the parameter in error messages.

    Raises:
        DataError: the path does not exist, or it contains no data file.
    """
    if path.is_file():
        if not path.name.endswith(SUFFIXES):
            raise DataError(f"{path}: needs a name that ends with {', '.join(SUFFIXES)}")
        return [path]
    if not path.is_dir():
        raise DataError(
            f"{path}: no such file or folder; mend {key} (a name on the hub goes into "
            f"prepare.hub.name)"
        )
    saved = {state.parent for state in path.rglob(_SAVED)}
    plain = (
        file
        for file in path.rglob("*")
        if file.name.endswith(SUFFIXES)
        and file.name not in _NO_ROWS
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and saved.isdisjoint(file.parents)
    )
    if files := sorted([*plain, *saved]):
        return files
    raise DataError(f"{path}: the folder has no file that ends with {', '.join(SUFFIXES)}")


def folder_of(file: Path, path: Path) -> str:
    """Return the subfolder of `path` that contains a file; "" for `path` itself."""
    folder = file.parent.relative_to(path).as_posix() if path.is_dir() and file != path else "."
    return "" if folder == "." else folder


def rows_of(file: Path, limit: int = 0) -> Iterator[Row]:
    """Yield the rows of one file from `files_of`, at most `limit` (0: all).

    Raises:
        DataError: the file or a row cannot be read, or there are no rows.
    """
    count = 0
    for row in itertools.islice(_reader(file), limit or None):
        count += 1
        yield row
    if count == 0:
        raise DataError(f"{file}: the file has no rows; needs at least 1: copy it again")


def _reader(file: Path) -> Iterator[Row]:
    if file.is_dir():
        return _saved_rows(file)
    if file.suffix == ".parquet":
        return _parquet_rows(file)
    return _csv_rows(file) if file.suffix == ".csv" else _json_rows(file)


def _json_rows(file: Path) -> Iterator[Row]:
    try:
        with opened(file) as handle:
            for line in json_lines(handle, str(file)):
                yield Row(line.where, line.values)
    except OSError as error:
        raise unreadable(f"{file}:1", error) from None


def _csv_rows(file: Path) -> Iterator[Row]:
    csv.field_size_limit(_MAX_CELL)  # a dialogue can exceed the default of 128 KiB
    start = 1
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            names = next(reader, [])
            _check_header(names, file)
            start = reader.line_num + 1
            for cells in reader:
                where, start = f"{file}:{start}", reader.line_num + 1
                if not cells:
                    continue
                if len(cells) != len(names):
                    raise DataError(
                        f"{where}: the row has {len(cells)} cells, needs {len(names)} "
                        f"({show(', '.join(names))}); put texts with commas in double quotes"
                    )
                yield Row(where, dict(zip(names, cells, strict=True)))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}:{start}: byte {show(error.object[error.start : error.start + 1])} is not "
            f"UTF-8; needs UTF-8 text"
        ) from None
    except csv.Error as error:
        raise DataError(
            f"{file}:{start}: not CSV ({error}); quote texts with double quotes, and double the "
            f"quotes in them"
        ) from None
    except OSError as error:
        raise unreadable(f"{file}:{start}", error) from None


def _check_header(names: list[str], file: Path) -> None:
    if not all(names) or len(set(names)) < len(names):
        raise DataError(
            f"{file}:1: the header is {show(', '.join(names))}; needs distinct names, none empty"
        )


def _parquet_rows(file: Path) -> Iterator[Row]:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    numbers = itertools.count(1)
    try:
        with file.open("rb") as handle, ParquetFile(handle) as parquet:
            for batch in parquet.iter_batches(_ROWS_AT_ONCE):
                for values in batch.to_pylist():
                    yield Row(f"{file}: row {next(numbers)}", values)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file}: empty, truncated or not Parquet ({show(str(error))}); copy the file again"
        ) from None


def _saved_rows(folder: Path) -> Iterator[Row]:
    """Yield the rows of a folder that `Dataset.save_to_disk` wrote, without loading all of them."""
    import datasets  # type: ignore[import-untyped]

    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{folder}: has {_SAVED}, but `datasets` cannot load it ({show(str(error))}); save it "
            f"again"
        ) from None
    for number, values in enumerate(saved, 1):
        yield Row(f"{folder}: row {number}", values)
