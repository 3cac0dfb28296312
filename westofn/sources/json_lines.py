"""Strict reader of JSON lines: only objects, in UTF-8, without NaN or infinity."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

from westofn.artifacts.table import show
from westofn.errors import DataError

_BOM = b"\xef\xbb\xbf"


class JsonLine(NamedTuple):
    """A line: its location, its text without surrounding white space, and its values."""

    where: str
    text: str
    values: dict[str, Any]


def opened(file: Path) -> BinaryIO:
    """Open a file for `json_lines`; files that end with .gz are decompressed."""
    return cast(BinaryIO, gzip.open(file)) if file.suffix == ".gz" else file.open("rb")


def json_lines(lines: Iterable[bytes], name: str) -> Iterator[JsonLine]:
    """Read the lines of a file; blank lines are skipped.

    Args:
        lines: lines of `opened`, or of another binary stream.
        name: name of the file in error messages.

    Raises:
        DataError: a line is not a JSON object, or the stream cannot be read.
    """
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if stripped := line.removeprefix(_BOM).strip():
                yield _json_line(stripped, f"{name}:{number}")
    except (EOFError, zlib.error) as error:
        raise DataError(
            f"{name}:{number + 1}: the gzip stream is truncated or corrupt ({error}); "
            f"copy the file again"
        ) from None
    except OSError as error:
        raise unreadable(f"{name}:{number + 1}", error) from None


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
            f"{where}: not JSON ({fault}): {show(text[:40])}; needs one object a line: "
            f"mend or remove the line"
        ) from None
    if not isinstance(values, dict):
        raise DataError(
            f"{where}: found a {kind(values)}, needs an object a line: mend or remove the line"
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


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a finite number")
