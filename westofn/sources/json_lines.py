"""Strict reader of JSON files: lines, arrays and tables of objects, in UTF-8.

Infinity is refused. NaN is null in arrays and tables, and refused in lines.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

from westofn.artifacts.table import show
from westofn.errors import DataError

_DEEPEST = 64
"""Largest number of nested lists and objects in a row."""
_SPACE = re.compile(r"\s*")
_LONGEST_NUMBER = 308
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
    if file.suffix.lower() == ".gz":
        return cast(BinaryIO, gzip.open(file))
    if file.suffix.lower() == ".zst":
        import pyarrow as pa  # type: ignore[import-untyped]

        return io.BufferedReader(pa.input_stream(str(file), compression="zstd"))
    return file.open("rb")


@contextmanager
def as_data_errors(name: str) -> Iterator[None]:
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
    """Read the rows of a JSON file.

    A file has one object a line, an array of objects, objects with line breaks, or a table. A table
    is one object that has its rows under a key such as `data`, that has its columns as lists of
    texts and numbers, or that pandas wrote (`to_json`). JSON lines are read one at a time; files of
    the other forms are read as a whole.

    Args:
        stream: binary stream of `opened`.
        name: name of the file in error messages.
        keep_faulty: yield a malformed line with its fault instead of raising the fault.

    Raises:
        DataError: a row is not a JSON object, or the stream cannot be read.
    """
    with as_data_errors(name):
        blank, first = 0, b""
        for first in stream:
            if first.removeprefix(_BOM).strip():
                break
            blank += 1
        head = first.removeprefix(_BOM).strip()
        lines: Iterable[bytes] = itertools.chain([b""] * blank, [first], stream)
        value = values[0] if len(values := _json_values(head)) == 1 else None
        if head.startswith(b"[") or (head.startswith(b"{") and _may_be_table(value)):
            whole = first.removeprefix(_BOM) + stream.read()
            if (rows := _rows(_value_of_file(whole, value), name)) is not None:
                yield from rows
                return
            if value is None and head.startswith(b"["):
                _parsed(whole, name, _null_for_nan)  # the error
            lines = itertools.chain([b""] * blank, whole.splitlines(keepends=True))
    yield from json_lines(lines, name, keep_faulty=keep_faulty)


def _may_be_table(value: object) -> bool:
    if not isinstance(value, Mapping):
        return True
    columns = list(value.values())
    is_table = len(columns) > 1 and all(map(_is_column_of_texts, columns))
    numbered = any(map(_is_numbered, [value, *columns[:1]]))
    return is_table or numbered or any(name in value for name in _TABLES)


def _value_of_file(content: bytes, first: object) -> object:
    """Return the value of a file that is read as a whole; None if it is one of JSON lines.

    Args:
        content: the file.
        first: value of its first line; None if the line is no JSON value.

    Returns:
        The only value of the file, or the list of its objects with line breaks.
    """
    values = _json_values(content)
    if len(values) == 1 and (first is not None or not isinstance(values[0], dict)):
        return values[0]
    is_table = len(values) == 1 and _rows(values[0], "") is not None
    return values[0] if is_table else (values or None) if first is None else None


def _json_values(content: bytes) -> list[object]:
    """Return the JSON values that follow one another; none if the content is not JSON.

    NaN, which pandas writes, is null.
    """
    decoder = json.JSONDecoder(parse_constant=_null_for_nan, **_HOOKS)
    values, end = [], 0
    try:
        text = content.decode().strip()
        while end < len(text):
            value, end = decoder.raw_decode(text, _SPACE.match(text, end).end())  # type: ignore[union-attr]
            values.append(value)
    except (ValueError, RecursionError):
        return []
    return values


class _LossyError(ValueError):
    """JSON that loses something when it is read."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise _LossyError(f"key {show(key)} is there twice, of which one value would be lost")
    return values


def _whole_number(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise _LossyError(f"a number of {len(digits)} digits, at most {_LONGEST_NUMBER} are read")
    return int(digits)


def _finite_number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _LossyError(f"{show(digits)} is beyond the largest number that is read, 1.8e308")
    return number


_HOOKS: dict[str, Any] = {
    "object_pairs_hook": _object,
    "parse_int": _whole_number,
    "parse_float": _finite_number,
}
"""Arguments of the JSON decoder that refuse what would be lost."""


def _is_numbered(value: object) -> bool:
    """Return whether a value is an object with numbers of rows as keys, which pandas writes."""
    return isinstance(value, Mapping) and bool(value) and all(map(str.isdecimal, value))


def _rows(value: object, name: str) -> list[JsonLine] | None:
    """Return the rows in the value of a whole file; None if it is no list and no table."""
    if isinstance(value, Mapping):
        value = _table_rows(value)
    if not isinstance(value, list):
        return None
    for number, row in enumerate(value, 1):
        if not isinstance(row, dict):
            raise DataError(
                f"{name}: row {number}: an array entry is a {kind(row)}, needs objects: mend or "
                f"remove the entry"
            )
    rows = [JsonLine(f"{name}: row {number}", "", row) for number, row in enumerate(value, 1)]
    for row in rows:
        _check_values(row.values, row.where)
    return rows


def _table_rows(value: Mapping[str, Any]) -> list[Any] | None:
    """Return the rows of a table, see `json_rows`; None if the object is no table."""
    wrapped = [column for name in _TABLES if isinstance(column := value.get(name), list)]
    names, columns = value.get("columns"), list(value.values())
    if len(wrapped) == 1 and isinstance(names, list):
        return [
            dict(zip(map(str, names), cells, strict=False)) if isinstance(cells, list) else cells
            for cells in wrapped[0]
        ]
    if len(wrapped) == 1 or (wrapped and len(wrapped) == len(columns)):
        return [row for table in wrapped for row in table]
    if _is_numbered(value):
        return columns
    if columns and all(map(_is_numbered, columns)):
        numbers = sorted({number for cells in columns for number in cells}, key=int)
        return [{name: value[name].get(row) for name in value} for row in numbers]
    if all(_is_column(column) for column in columns) and len({*map(len, columns)}) == 1:
        return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
    return None


def _is_column(value: object) -> bool:
    """Return whether a value is a list without lists and objects, so no list of messages."""
    return isinstance(value, list) and not any(isinstance(cell, dict | list) for cell in value)


def _is_column_of_texts(value: object) -> bool:
    """Return whether a value is a list of texts; ratings belong to a row with several responses."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


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
        with as_data_errors(f"{name}:{number + 1}"):
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
    text, values = _parsed(line, where, _refuse_constant)
    if not isinstance(values, dict):
        raise DataError(
            f"{where}: the line is a {kind(values)}, needs an object a line: mend or remove it"
        )
    _check_values(values, where)
    return JsonLine(where, text, values)


def _parsed(content: bytes, where: str, constant: Callable[[str], None]) -> tuple[str, object]:
    """Return the text and the value of JSON.

    Raises:
        DataError: the content is not JSON in UTF-8.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start} is not UTF-8; needs UTF-8 text") from None
    try:
        return text, json.loads(text, parse_constant=constant, **_HOOKS)
    except _LossyError as error:
        raise DataError(f"{where}: {error}; mend or remove the row") from None
    except (ValueError, RecursionError) as error:
        fault = str(error)
        if isinstance(error, json.JSONDecodeError):
            line = f"line {error.lineno}, " if error.lineno > 1 else ""
            fault = f"{error.msg}, {line}column {error.colno}"
        raise DataError(
            f"{where}: not JSON ({fault}): {show(text[:40])}; needs one object a line, or one "
            f"array of objects: mend or remove the line"
        ) from None


def _check_values(values: Mapping[str, object], where: str) -> None:
    """Refuse half a surrogate pair, and values that are nested too deeply.

    Raises:
        DataError: a column has such a value.
    """
    for name, value in values.items():
        level, depth = [name, value], 0
        while level:
            if not all(map(is_encodable, level)):
                raise DataError(
                    f"{where}: column {show(name) if not is_encodable(name) else name} holds half "
                    f"a surrogate pair, which is not a character: mend or remove the row"
                )
            if depth > _DEEPEST:
                raise DataError(
                    f"{where}: column {name} has more than {_DEEPEST} nested lists and objects: "
                    f"mend or remove the row"
                )
            level = [entry for parent in level for entry in _entries(parent)]
            depth += 1


def is_encodable(value: object) -> bool:
    """Return whether a value is no text with half a surrogate pair, which UTF-8 cannot encode."""
    try:
        return not isinstance(value, str) or value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _entries(value: object) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []


def json_in(value: str) -> list[Any] | dict[str, Any] | None:
    """Return the list or object that a text is the JSON of; None for any other text."""
    stripped = value.strip()
    if not stripped.startswith(("[", "{")):
        return None
    try:
        inner: list[Any] | dict[str, Any] = json.loads(stripped)
    except (ValueError, RecursionError):
        return None
    return inner


def parsed(value: object) -> object:
    """Return the list or object that a text is the JSON of, or the value itself."""
    inner = json_in(value) if isinstance(value, str) else None
    return value if inner is None else inner


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
