"""Write scored rows as JSON lines, CSV or Parquet, by the ending of the file's name.

JSON lines are written chunk by chunk; a line that was read as JSON keeps its bytes. CSV
and Parquet need the columns of all rows first, so their rows are kept until the last one is scored.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import pyarrow as pa  # type: ignore[import-untyped]
import typer
from pyarrow import parquet

from westofn.artifacts.table import show
from westofn.errors import DataError, ParameterError
from westofn.plain_text import visible_json
from westofn.scoring.rows import Row

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_FORMULA = ("=", "+", "-", "@")
ENDINGS = (".jsonl", *_DELIMITERS, ".parquet")


class Writer(Protocol):
    """A writer of rows and their new columns."""

    def write(self, rows: Sequence[Row], columns: Sequence[Mapping[str, object]]) -> None:
        """Add rows with their new columns."""

    def close(self) -> None:
        """Write what is left, after the last row."""


def require_ending(out: Path) -> None:
    """Refuse a file name that ends with none of ENDINGS.

    Raises:
        ParameterError: The name has another ending.
    """
    if out.suffix not in ENDINGS:
        raise ParameterError(f"{out}: needs a name that ends with {', '.join(ENDINGS)}")


def writer_to(handle: BinaryIO, ending: str, source: Path) -> Writer:
    """Return the writer for an ending of ENDINGS.

    Args:
        handle: Binary stream to write to.
        ending: Ending of the file's name.
        source: File of the rows; a Parquet file keeps the types of its columns in Parquet.
    """
    if ending == ".jsonl":
        return JsonLines(handle)
    if ending == ".parquet":
        return ParquetTable(handle, parquet_types(source) if source.suffix == ending else {})
    return DelimitedTable(handle, _DELIMITERS[ending])


class JsonLines:
    """Writer of JSON lines; for a terminal, control characters in texts are escaped."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._is_terminal = handle.isatty()  # which would obey control characters

    def write(self, rows: Sequence[Row], columns: Sequence[Mapping[str, object]]) -> None:
        """Write rows at once, so that a reader of a pipe sees them."""
        text = b"".join(line(row, new) for row, new in zip(rows, columns, strict=True))
        self._handle.write(visible_json(text.decode()).encode() if self._is_terminal else text)
        self._handle.flush()

    def close(self) -> None:
        """Do nothing: every chunk is written already."""


def line(row: Row, columns: Mapping[str, object]) -> bytes:
    r"""Return a row as a JSON line with new columns at its end.

    Raises:
        DataError: A value of the row cannot be written as JSON.

    >>> row = Row("-:1", {"prompt": "x"}, '{"prompt":"x" }', "response", "x", ["y"])
    >>> line(row, {"reward": 0.5})
    b'{"prompt":"x", "reward": 0.5}\n'
    """
    if row.text:
        added = json.dumps(columns, allow_nan=False)
        return f"{row.text[:-1].rstrip()}, {added[1:]}\n".encode()
    try:
        values = {**row.values, **columns}
        return f"{json.dumps(values, ensure_ascii=False, allow_nan=False)}\n".encode()
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{row.place}: cannot be written as JSON ({error}); give --out a name that ends with "
            ".parquet"
        ) from None


class _Table:
    """Rows that are kept until the last one is scored."""

    def __init__(self, handle: BinaryIO) -> None:
        self.handle = handle
        self.rows: list[dict[str, object]] = []

    def write(self, rows: Sequence[Row], columns: Sequence[Mapping[str, object]]) -> None:
        """Keep rows."""
        self.rows += [{**row.values, **new} for row, new in zip(rows, columns, strict=True)]

    @property
    def names(self) -> list[str]:
        """Names of the columns, in the order in which they first appear."""
        return list(dict.fromkeys(name for row in self.rows for name in row))


class DelimitedTable(_Table):
    """Writer of CSV. Null is an empty cell; a list, an object and a number are JSON.

    Texts are written as they are, so that the file reads back; a warning on stderr says how many
    of them a spreadsheet would take for formulas.
    """

    def __init__(self, handle: BinaryIO, delimiter: str) -> None:
        super().__init__(handle)
        self._delimiter = delimiter

    def close(self) -> None:
        """Write the table.

        Raises:
            DataError: A text has half a surrogate pair, or a value has no JSON.
        """
        names = self.names
        content = io.TextIOWrapper(self.handle, "utf-8", newline="", write_through=True)
        table = csv.writer(content, delimiter=self._delimiter)
        table.writerow(names)
        formulas = sum(map(_is_formula, names))
        for number, row in enumerate(self.rows, 1):
            formulas += sum(map(_is_formula, row.values()))
            try:
                table.writerow([_cell(row.get(name)) for name in names])
            except (TypeError, ValueError) as error:
                raise DataError(
                    f"scored row {number} cannot be written as CSV ({error}); give --out a name "
                    "that ends with .parquet"
                ) from None
        content.detach()
        if formulas:
            typer.secho(
                f"score: warning: {formulas:,} cells begin with {', '.join(_FORMULA)}, which a "
                "spreadsheet would run as formulas; import the columns as text",
                fg="yellow",
                err=True,
            )


def _is_formula(value: object) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(_FORMULA)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class ParquetTable(_Table):
    """Writer of Parquet with plain types, which `datasets` joins with other data sets.

    Args:
        handle: Binary stream to write to.
        types: Name -> type, for columns of known types; other types are inferred.
    """

    def __init__(self, handle: BinaryIO, types: Mapping[str, pa.DataType]) -> None:
        super().__init__(handle)
        self._types = types

    def close(self) -> None:
        """Write the table.

        Raises:
            DataError: The values of a column have no common type.
        """
        columns = {name: self._column(name) for name in self.names}
        parquet.write_table(pa.table(columns), self.handle, compression="zstd")

    def _column(self, name: str) -> pa.Array:
        values = [row.get(name) for row in self.rows]
        try:
            return pa.array(values, type=self._types.get(name))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"column {name} has no common type, which Parquet needs ({show(str(error))}); "
                "mend the column, or give --out a name that ends with .jsonl"
            ) from None


def parquet_types(file: Path) -> dict[str, pa.DataType]:
    """Return name -> plain type of the columns of a Parquet file.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        return {field.name: _plain(field.type) for field in parquet.read_schema(file)}
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file}: empty, truncated or not Parquet ({show(str(error))}); copy the file again"
        ) from None


def _plain(dtype: pa.DataType) -> pa.DataType:
    """Return `string`, `binary` and `list` for their large and viewing types, at any depth."""
    if pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return pa.string()
    if pa.types.is_large_binary(dtype) or pa.types.is_binary_view(dtype):
        return pa.binary()
    if pa.types.is_dictionary(dtype):
        return _plain(dtype.value_type)
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_list_view(dtype):
        return pa.list_(_plain(dtype.value_type))
    if pa.types.is_struct(dtype):
        return pa.struct([field.with_type(_plain(field.type)) for field in dtype.fields])
    return dtype
