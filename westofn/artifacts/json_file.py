"""Small JSON artifacts (metrics, curves, counts): atomic writes, finite numbers only."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from westofn.artifacts.atomic import write_bytes
from westofn.artifacts.table import show
from westofn.errors import DataError

DEEPEST = 100
"""More than any file here is nested."""
_DIGITS = 308
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
"""What may be half a surrogate pair: JSON escapes both halves of a pair alike."""
Content = TypeVar("Content")


def write_json(value: Mapping[str, object], path: Path | str) -> None:
    """Write a JSON object with sorted keys, two spaces of indent and a newline at the end.

    Equal content gives equal bytes. Numbers of other libraries, such as numpy, become Python
    numbers.

    Raises:
        DataError: a number is NaN or infinite, a key is not text, a value has no JSON form (the
            message names the path of keys), or the disk refuses the file. The earlier file is
            unchanged.
    """
    path = Path(path)
    plain = plain_value(value, path, "")
    text = json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(f"{text}\n".encode(), path)


def write_records(records: Sequence[Mapping[str, object]], path: Path | str) -> None:
    """Write a list of JSON objects under the rules of `write_json`.

    Raises:
        DataError: see `write_json`.
    """
    path = Path(path)
    plain = [plain_value(record, path, f"[{index}]") for index, record in enumerate(records)]
    text = json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(f"{text}\n".encode(), path)


def write_rows(value: Mapping[str, object], path: Path | str, depth: int = DEEPEST) -> None:
    """Write a JSON object of many records, a record a line, keys sorted.

    A record is an object or list that holds no other object or list. A long file of records is so
    short enough to keep, and its versions differ in the lines of the records that changed.

    Args:
        value: The object.
        path: Where it goes.
        depth: An object or list below this many others is one line too, whatever it holds; 2 is
            an item of a list in the object.

    Raises:
        DataError: as `write_json`.
    """
    path = Path(path)
    write_bytes(f"{_with_rows(plain_value(value, path, ''), depth)}\n".encode(), path)


def _with_rows(value: object, depth: int, indent: str = "") -> str:
    """The JSON text of a plain value; lines within it begin with the indent."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if depth == 0 or not any(isinstance(item, dict | list) for item in items):
        return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    inner = f"{indent} "
    if isinstance(value, dict):
        parts = [
            f"{json.dumps(key, ensure_ascii=False)}: {_with_rows(value[key], depth - 1, inner)}"
            for key in sorted(value)
        ]
        return f"{{\n{_lines(parts, inner)}\n{indent}}}"
    parts = [_with_rows(item, depth - 1, inner) for item in items]
    return f"[\n{_lines(parts, inner)}\n{indent}]"


def _lines(parts: Sequence[str], indent: str) -> str:
    return ",\n".join(f"{indent}{part}" for part in parts)


def read_json(path: Path | str, written_by: str = "the stage that writes it") -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: file to read.
        written_by: name of the stage that the error message tells to rerun.

    Raises:
        DataError: the file is missing, a folder, empty, not JSON or not an object; a key occurs
            twice; a number is NaN, infinite or of more than 308 digits; a text holds half a
            surrogate pair; objects and lists are nested deeper than `DEEPEST`.
    """
    return json_object(_content(Path(path), written_by), str(path), written_by)


def read_as(
    kind: Callable[[dict[str, Any]], Content],
    path: Path | str,
    written_by: str = "the stage that writes it",
) -> Content:
    """Read a JSON object and convert it.

    Args:
        kind: Function of the object, which looks up keys and computes with numbers.
        path: File to read.
        written_by: Name of the stage that the error message tells to rerun.

    Raises:
        DataError: As `read_json`; or the function lacks a key, or meets a value of another type.
    """
    value = read_json(path, written_by)
    with of_right_form(str(path), written_by):
        return kind(value)


@contextmanager
def of_right_form(name: str, written_by: str) -> Iterator[None]:
    """Let a block that converts the values of one file refuse those of another form.

    Args:
        name: The file.
        written_by: Name of the stage that the error message tells to rerun.

    Raises:
        DataError: The block lacks a key, or meets a value that it cannot compute with.
    """
    try:
        yield
    except KeyError as error:
        raise DataError(f"{name}: key {error} is missing; rerun {written_by}") from None
    except (TypeError, ValueError, AttributeError, ArithmeticError, AssertionError) as error:
        raise DataError(
            f"{name}: a value is of another form ({error}); rerun {written_by}"
        ) from None


def json_object(content: bytes, name: str, written_by: str) -> dict[str, Any]:
    """Parse the content of a file that `read_json` would read.

    Args:
        content: Content of the file.
        name: Name of the file in error messages.
        written_by: Name of the stage that the error message tells to rerun.

    Raises:
        DataError: As `read_json`.
    """
    value = _parsed(content, name, "a JSON object", f"rerun {written_by}")
    if not isinstance(value, dict):
        raise DataError(
            f"{name}: holds a {type(value).__name__}, needs a JSON object; rerun {written_by}"
        )
    return value


def read_records(
    path: Path | str, written_by: str = "the stage that writes it"
) -> list[dict[str, Any]]:
    """Read a list of JSON objects, see `read_json`.

    Raises:
        DataError: As `read_json`, where the file needs to hold a list of objects.
    """
    path = Path(path)
    content = _content(path, written_by)
    value = _parsed(content, str(path), "a list of JSON objects", f"rerun {written_by}")
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise DataError(f"{path}: needs a list of JSON objects; rerun {written_by}")
    return value


def _content(path: Path, written_by: str) -> bytes:
    if path.is_dir():
        raise DataError(f"{path}: is a folder, needs a JSON file; rerun {written_by}")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; rerun {written_by}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable") from error


def _parsed(content: bytes, name: str, needed: str, rerun: str) -> Any:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: byte {error.start} is not UTF-8; {rerun}") from None
    if not text.strip():
        raise DataError(f"{name}: the file is empty, needs {needed}; {rerun}")
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short,
            object_pairs_hook=_unique_keys,
        )
        if _HALF_PAIR.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        _refuse_depth(value, text)
    except json.JSONDecodeError as error:
        raise DataError(f"{name}:{error.lineno}: not JSON ({error.msg}); {rerun}") from None
    except UnicodeEncodeError:
        raise DataError(
            f"{name}: a text holds half a surrogate pair, which is not a character; {rerun}"
        ) from None
    except (_Refused, ValueError, RecursionError) as error:
        raise DataError(f"{name}: {error}; {rerun}, or mend the file") from None
    return value


class _Refused(Exception):  # noqa: N818 (`read_json` converts it to a DataError with the path)
    """Valid JSON that is not accepted."""


def _refuse_constant(constant: str) -> NoReturn:
    raise _Refused(f"{constant} is not a finite number")


def _finite(text: str) -> float:
    """Convert a number; json makes infinity of 1e999."""
    value = float(text)
    return value if math.isfinite(value) else _refuse_constant(show(text))


def _short(text: str) -> int:
    """Convert a whole number that a float can hold too."""
    if len(text) > _DIGITS:
        raise _Refused(f"a number has {len(text)} digits, at most {_DIGITS} are read")
    return int(text)


def _refuse_depth(value: object, text: str) -> None:
    level = [value] if text.count("[") + text.count("{") > DEEPEST else []
    for _ in range(DEEPEST + 1):
        nested = [item for item in level if isinstance(item, dict | list)]
        level = [
            inner
            for item in nested
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    if level:
        raise _Refused(f"more than {DEEPEST} nested objects and lists")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise _Refused(f"key {show(duplicate)} occurs twice in one object")
    return value


def plain_value(value: object, path: Path, at: str = "") -> object:
    """Convert a value to plain dicts, lists and numbers.

    Args:
        value: Value to convert.
        path: File in error messages.
        at: Path of keys to the value.

    Raises:
        DataError: See `write_json`.
    """
    match value:
        case None | bool() | str():
            return value
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise DataError(
                        f"{path}: not written: key {show(key)} at {at or 'the top'} is a "
                        f"{type(key).__name__}, needs text"
                    )
            return {
                key: plain_value(item, path, f"{at}.{key}" if at else key)
                for key, item in value.items()
            }
        case list() | tuple():
            return [plain_value(item, path, f"{at}[{index}]") for index, item in enumerate(value)]
        case Integral():
            return int(value)
        case Real() if math.isfinite(value):
            return float(value)
        case Real():
            raise DataError(
                f"{path}: not written: {at} is {float(value)}, needs a finite number; "
                f"leave the key out where there is nothing to measure"
            )
        case _:
            raise DataError(
                f"{path}: not written: {at} is a {type(value).__name__}, needs an object, list, "
                f"text, number, true, false or null"
            )
