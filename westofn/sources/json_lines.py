"""Strict reader of JSON lines and JSON arrays: objects, in UTF-8, without NaN or infinity."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

from westofn.artifacts.table import show
from westofn.errors import DataError

_BOM = b"\xef\xbb\xbf"
_TABLES = ("data", "rows", "examples", "instances", "train", "test", "validation")
"""Keys of an object that holds the rows of a whole file."""


class JsonLine(NamedTuple):
    """A line: its location, its text without surrounding white space, and its values.

    Attributes:
        where: location.
        text: text of the line; "" for an entry of an array.
        values: the object.
        fault: why the line cannot be read; its values are then empty.
    """

    where: str
    text: str
    values: dict[str, Any]
    fault: DataError | None = None


def opened(file: Path) -> BinaryIO:
    """Open a file for reading; files that end with .gz or .zst are decompressed."""
    if file.suffix == ".gz":
        return cast(BinaryIO, gzip.open(file))
    if file.suffix == ".zst":
        import pyarrow as pa  # type: ignore[import-untyped]

        return io.BufferedReader(pa.input_stream(str(file), compression="zstd"))
    return file.open("rb")


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn the errors of a stream that cannot be read or decompressed into `DataError`.

    Args:
        name: name of the file in error messages.
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{name}: the gzip stream is truncated or corrupt ({error}); copy the file again"
        ) from None
    except OSError as error:
        raise unreadable(name, error) from None


def json_rows(stream: BinaryIO, name: str, *, keep_faulty: bool = False) -> Iterator[JsonLine]:
    """Read the rows of a JSON file: one object a line, or one array of objects.

    A file with one object is read as a table if the object has its rows under a key such as `data`,
    or columns as lists of texts and numbers. An array is read as a whole.

    Args:
        stream: binary stream of `opened`.
        name: name of the file in error messages.
        keep_faulty: yield a malformed line with its fault instead of raising the fault.

    Raises:
        DataError: a row is not a JSON object, or the stream cannot be read.
    """
    with reading(name):
        blank, first = 0, b""
        for first in stream:
            if first.removeprefix(_BOM).strip():
                break
            blank += 1
        head = first.removeprefix(_BOM).strip()
        lines: Iterable[bytes] = itertools.chain([b""] * blank, [first], stream)
        value = _value(head)
        if head.startswith(b"[") or (head.startswith(b"{") and _may_be_table(value)):
            whole = first.removeprefix(_BOM) + stream.read()
            if (rows := _rows(_value(whole), name)) is not None:
                yield from rows
                return
            lines = itertools.chain([b""] * blank, whole.splitlines(keepends=True))
    yield from json_lines(lines, name, keep_faulty=keep_faulty)


def _may_be_table(value: object) -> bool:
    return not isinstance(value, Mapping) or any(name in value for name in _TABLES)


def _value(content: bytes) -> object:
    """Return the JSON value, or None if the content is not JSON; NaN in a table is null."""
    try:
        return json.loads(content, parse_constant=_null_for_nan)
    except (ValueError, RecursionError):
        return None


def _rows(value: object, name: str) -> list[JsonLine] | None:
    """Return the rows in a JSON value of a whole file; None if it is no table."""
    if isinstance(value, Mapping):
        wrapped = [column for name in _TABLES if isinstance(column := value.get(name), list)]
        columns = list(value.values())
        if len(wrapped) == 1:
            value = wrapped[0]
        elif all(_is_column(column) for column in columns) and len({*map(len, columns)}) == 1:
            value = [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
    if not isinstance(value, list):
        return None
    for number, row in enumerate(value, 1):
        if not isinstance(row, dict):
            raise DataError(
                f"{name}: row {number}: an array entry is a {kind(row)}, needs objects: mend or "
                f"remove the entry"
            )
    return [JsonLine(f"{name}: row {number}", "", row) for number, row in enumerate(value, 1)]


def _is_column(value: object) -> bool:
    """Return whether a value is a column of texts and numbers, and not a row's list of messages."""
    return isinstance(value, list) and not any(isinstance(cell, dict | list) for cell in value)


def json_lines(
    lines: Iterable[bytes], name: str, *, keep_faulty: bool = False
) -> Iterator[JsonLine]:
    """Read the lines of a file; blank lines are skipped.

    Args:
        lines: lines of `opened`, or of another binary stream.
        name: name of the file in error messages.
        keep_faulty: yield a malformed line with its fault instead of raising the fault.

    Raises:
        DataError: a line is not a JSON object, or the stream cannot be read.
    """
    numbered = enumerate(lines, 1)
    number = 0
    while True:
        with reading(f"{name}:{number + 1}"):
            number, line = next(numbered, (number, None))
        if line is None:
            return
        if not (stripped := line.removeprefix(_BOM).strip()):
            continue
        try:
            yield _json_line(stripped, f"{name}:{number}")
        except DataError as error:
            if not keep_faulty:
                raise
            yield JsonLine(f"{name}:{number}", "", {}, error)


def _json_line(line: bytes, where: str) -> JsonLine:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start} is not UTF-8; needs UTF-8 text") from None
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        fault = (
            f"{error.msg}, column {error.colno}"
            if isinstance(error, json.JSONDecodeError)
            else str(error)
        )
        raise DataError(
            f"{where}: not JSON ({fault}): {show(text[:40])}; needs one object a line, or one "
            f"array of objects: mend or remove the line"
        ) from None
    if not isinstance(values, dict):
        raise DataError(
            f"{where}: the line is a {kind(values)}, needs an object a line: mend or remove it"
        )
    return JsonLine(where, text, values)


def unreadable(where: str, error: OSError) -> DataError:
    """Return the error for a file that cannot be read."""
    return DataError(
        f"{where}: cannot be read ({error.strerror or error}); copy the file again or mend its "
        f"permissions"
    )


def kind(value: object) -> str:
    """Return the name of a value's type for error messages."""
    return "null" if value is None else type(value).__name__


def _null_for_nan(constant: str) -> None:
    if constant != "NaN":
        _refuse_constant(constant)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a finite number")
