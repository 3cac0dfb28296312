"""Read raw rows of files lazily; each row has its location (file, and line or row).

It reads JSON lines, arrays and tables, CSV with commas, semicolons, tabs or vertical bars, Parquet,
folders of these, and folders that `datasets` saved. JSON and CSV may be compressed with gzip or
zstd. The meaning of columns is defined in `westofn/sources/formats/`.
"""

from __future__ import annotations

import csv
import errno
import io
import itertools
import json
import os
import stat
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from westofn.artifacts.table import show
from westofn.errors import DataError
from westofn.progress import working
from westofn.sources.json_lines import as_data_errors, json_rows, opened

_COMPRESSIONS = ("", ".gz", ".zst")
_JSON, _DELIMITED = (".jsonl", ".ndjson", ".json"), (".csv", ".tsv")
SUFFIXES = (
    *(name + packed for name in (*_JSON, *_DELIMITED) for packed in _COMPRESSIONS),
    ".parquet",
)
SUPPORTED = f"{', '.join((*_JSON, *_DELIMITED))} (also with .gz or .zst), or .parquet"

_ROWS_AT_ONCE = 1024
_SPECIAL = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_MAX_CELL = 2**31 - 1
_DELIMITERS = (",", ";", "\t", "|")
_NOT_A_NUMBER = ("NaN", "nan")
"""Texts that pandas and other programs write to CSV files for a missing value."""
# Files without rows that `datasets` and the hub write.
_SAVED, _SAVED_SPLITS = "state.json", "dataset_dict.json"
_NO_ROWS = (_SAVED, _SAVED_SPLITS, "dataset_info.json", "dataset_infos.json")


class Row(NamedTuple):
    """A raw row and its location in error messages, such as `pairs.jsonl:17`.

    Attributes:
        where: location.
        values: column -> value.
        fault: why the row cannot be read; its values are then empty.
    """

    where: str
    values: Mapping[str, object]
    fault: DataError | None = None


class Unreadable:
    """A cell whose value Python cannot hold, such as a date after the year 9999.

    Who reads the column refuses the row, since this is neither text nor number nor list.
    """

    def __init__(self, fault: Exception) -> None:
        self._fault = " ".join(str(fault).split())

    def __repr__(self) -> str:
        return f"<{self._fault}>"


class _Faulty(NamedTuple):
    """Whether a reader yields malformed rows, and whether NaN in CSV is a missing value."""

    keep: bool = False
    nan_is_missing: bool = True

    def row(self, where: str, error: DataError) -> Row:
        """Return a row with a fault, or raise it."""
        if not self.keep:
            raise error from None
        return Row(where, {}, error)


def files_of(path: Path, key: str) -> list[Path]:
    """List the data files at a path, sorted: the file itself, or files at any depth in a folder.

    A folder that `datasets` saved counts as one file. Names with a leading dot are skipped.

    Args:
        path: a file or folder.
        key: name of the parameter in error messages.

    Raises:
        DataError: the path does not exist, or it contains no data file.
    """
    if path == Path() and key.startswith("prepare."):  # Path("") is Path(".")
        raise DataError(f"{key} is empty or the current folder; set it to a file or another folder")
    refuse_special(path, key)
    if path.is_file():
        if not path.name.lower().endswith(SUFFIXES):
            raise DataError(f"{path}: needs a name that ends with {SUPPORTED}")
        return [path]
    if not path.is_dir():
        raise DataError(
            f"{path}: no such file or folder; mend {key} (a name on the hub goes into "
            f"prepare.hub.name)"
        )
    entries = list(_below(path, key))
    saved = {file.parent for file in entries if file.name == _SAVED}
    plain = [
        file
        for file in entries
        if file.name.lower().endswith(SUFFIXES)
        and file.name not in _NO_ROWS
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and saved.isdisjoint(file.parents)
    ]
    for file in plain:
        refuse_special(file, key)
    if files := sorted([*(file for file in plain if file.is_file()), *saved]):
        return files
    raise DataError(f"{path}: the folder has no file that ends with {SUPPORTED}")


def _below(folder: Path, key: str) -> Iterator[Path]:
    """Yield the entries of a folder that are no folders, at any depth, also behind links.

    Raises:
        DataError: a link leads back to a folder above it.
    """
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = Path(parent)
        for name in folders:
            inner = here / name
            if inner.is_symlink() and _leads_back(inner, folder):
                raise DataError(
                    f"{inner}: a link to a folder that holds it; remove it, or mend {key}"
                )
        yield from (here / name for name in names)


def _leads_back(link: Path, folder: Path) -> bool:
    """Return whether a link below a folder leads to a folder on its own path, or above that."""
    here, target = link.parent, link.resolve()
    depth = len(here.relative_to(folder).parts)
    above = (here, *itertools.islice(here.parents, depth))
    return any(place.resolve().is_relative_to(target) for place in above)


def refuse_special(path: Path, key: str) -> None:
    """Refuse a path that is no file or folder, without opening it.

    Args:
        path: the path; one that does not exist is not refused here, unless a link leads to it.
        key: name of the parameter in error messages.

    Raises:
        DataError: the path is a pipe, a device, a socket, or a link that leads nowhere.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not path.is_symlink():
            return
        form = "a link to a file that is missing"
    except OSError as error:
        loops = error.errno == errno.ELOOP
        form = "a link that leads back to itself" if loops else f"not there ({error.strerror})"
    except ValueError as error:  # such as a null byte
        form = f"no path ({error})"
    else:
        form = next((name for is_it, name in _SPECIAL if is_it(mode)), "")
    if form:
        raise DataError(f"{path}: {form}; needs a file or folder: mend {key}")


def require_source(source: Path) -> None:
    """Refuse the argument of a command that is no file or folder.

    Raises:
        DataError: there is nothing at the path, or it is special.
    """
    refuse_special(source, "FILE; a pipe is read as -")
    if not source.exists():
        raise DataError(f"{source}: no such file; give {SUPPORTED}")


def folder_of(file: Path, path: Path) -> str:
    """Return the subfolder of `path` that contains a file; "" for `path` itself."""
    folder = file.parent.relative_to(path).as_posix() if path.is_dir() and file != path else "."
    return "" if folder == "." else folder


def rows_of(
    file: Path, limit: int = 0, *, keep_faulty: bool = False, nan_is_missing: bool = True
) -> Generator[Row, None, None]:
    """Yield the rows of one file from `files_of`.

    Args:
        file: a file, or a folder that `datasets` saved.
        limit: largest number of rows; 0: all.
        keep_faulty: yield a row that is malformed, with its fault, instead of raising the fault.
        nan_is_missing: whether a cell `NaN` or `nan` of a CSV file is null.

    Raises:
        DataError: the file or a row cannot be read, or there are no rows.
    """
    faulty = _Faulty(keep_faulty, nan_is_missing)
    with working(f"reading {file.name}", unit="rows") as progress:
        for row in itertools.islice(_reader(file, faulty), limit or None):
            progress.advance()
            yield row
    if progress.done == 0:
        raise DataError(f"{file}: the file has no rows; needs at least 1: copy it again")


def is_json(file: Path) -> bool:
    """Return whether `rows_of` reads a file as JSON."""
    return not file.is_dir() and _form(file) in _JSON


def _form(file: Path) -> str:
    """Return the ending of a file's name without that of a compression, in lower case."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    return suffixes[-2] if suffixes[-1] in _COMPRESSIONS[1:] else suffixes[-1]


def _reader(file: Path, faulty: _Faulty) -> Iterator[Row]:
    if file.is_dir():
        return _saved_rows(file)
    form = _form(file)
    if form == ".parquet":
        return _parquet_rows(file)
    return _delimited_rows(file, faulty) if form in _DELIMITED else _json_rows(file, faulty)


def _json_rows(file: Path, faulty: _Faulty) -> Iterator[Row]:
    with as_data_errors(str(file)), opened(file) as handle:
        for line in json_rows(handle, str(file), keep_faulty=faulty.keep):
            yield Row(line.where, line.values, line.fault)


def _delimited_rows(file: Path, faulty: _Faulty) -> Iterator[Row]:
    csv.field_size_limit(_MAX_CELL)  # a dialogue can exceed the default of 128 KiB
    start = 1
    missing = _NOT_A_NUMBER if faulty.nan_is_missing else ()
    try:
        with (
            as_data_errors(str(file)),
            opened(file) as handle,
            io.TextIOWrapper(handle, "utf-8-sig", newline="") as content,
        ):
            lines, delimiter = _delimited(content)
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            if not (names := next(filter(None, reader), [])):
                return
            _check_header(names, file)
            start = reader.line_num + 1
            for cells in reader:
                where, start = f"{file}:{start}", reader.line_num + 1
                if not cells:
                    continue
                if len(cells) != len(names):
                    error = DataError(
                        f"{where}: the row has {len(cells)} cells, needs {len(names)} "
                        f"({show(', '.join(names))}); put texts with commas in double quotes"
                    )
                    yield faulty.row(where, error)
                    continue
                if any(c for n, c in zip(names[1:], cells[1:], strict=True) if not n):
                    error = DataError(f"{where}: a cell stands in a column without a name: name it")
                    yield faulty.row(where, error)
                    continue
                named = zip(names, cells, strict=True)
                yield Row(where, {n: None if c in missing else c for n, c in named if n})
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


def _delimited(lines: io.TextIOWrapper) -> tuple[Iterator[str], str]:
    """Return all lines, and the delimiter that the header has most often."""
    first = next(lines, "")
    declared = first.rstrip("\r\n").removeprefix("sep=")  # as spreadsheets write it
    if declared in _DELIMITERS:
        return lines, declared
    outside = "".join(first.split('"')[::2])
    delimiter = max(_DELIMITERS, key=outside.count)
    return itertools.chain([first], lines), delimiter


def _check_header(names: list[str], file: Path) -> None:
    # pandas writes its index without a name; spreadsheets write empty columns at the end.
    named = list(filter(None, names))
    if not named or len(set(named)) < len(named):
        raise DataError(f"{file}:1: the header is {show(', '.join(names))}; needs distinct names")


def _parquet_rows(file: Path) -> Iterator[Row]:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    numbers = itertools.count(1)
    try:
        with file.open("rb") as handle, ParquetFile(handle) as parquet:
            for batch in parquet.iter_batches(_ROWS_AT_ONCE):
                for values in _batch_rows(batch, file):
                    yield Row(f"{file}: row {next(numbers)}", values)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # names are not UTF-8
        raise DataError(
            f"{file}: empty, truncated or not Parquet ({show(str(error))}); copy the file again"
        ) from None


def _batch_rows(batch: Any, file: Path) -> Iterator[dict[str, object]]:
    """Yield the rows of a batch of Arrow; a cell that cannot be converted is `Unreadable`."""
    names = batch.schema.names
    if len(set(names)) < len(names):
        raise DataError(f"{file}: the columns are {show(', '.join(names))}; needs distinct names")
    columns = [_cells(column) for column in batch.columns]
    for cells in zip(*columns, strict=True):
        yield dict(zip(names, cells, strict=True))


def _cells(column: Any) -> list[object]:
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):  # not UTF-8, or a year beyond 9999
        return [_cell(value) for value in column]


def _cell(value: Any) -> object:
    try:
        return value.as_py()
    except (ValueError, OverflowError) as error:
        return Unreadable(error)


def _require_inside(folder: Path) -> None:
    """Refuse a saved data set whose state.json names files elsewhere.

    Raises:
        DataError: state.json is damaged, or names a file that is not in the folder.
    """
    path = folder / _SAVED
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        names = [entry["filename"] for entry in state["_data_files"]]
        outside = [name for name in names if Path(name).name != name]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: is damaged ({show(str(error))}); save the data again") from None
    if outside:
        raise DataError(
            f"{path}: names the file {show(outside[0])}, needs the name of a file in this folder; "
            "save the data again"
        )


def _saved_rows(folder: Path) -> Iterator[Row]:
    """Yield the rows of a folder that `Dataset.save_to_disk` wrote, without loading all of them."""
    import datasets  # type: ignore[import-untyped]

    _require_inside(folder)
    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{folder}: has {_SAVED}, but `datasets` cannot load it ({show(str(error))}); save it "
            f"again"
        ) from None
    numbers = itertools.count(1)
    for table in saved.with_format("arrow").iter(_ROWS_AT_ONCE):
        for batch in table.to_batches():
            for values in _batch_rows(batch, folder):
                yield Row(f"{folder}: row {next(numbers)}", values)
