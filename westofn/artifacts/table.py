"""Parquet tables with a schema (columns, dtypes, key, row checks), validated on read and write."""

from __future__ import annotations

import difflib
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from westofn.artifacts.atomic import write_bytes
from westofn.errors import DataError

_MAGIC = b"PAR1"
_SHOWN_CHARACTERS = 60
_ROW_GROUP_ROWS = 65_536
_DATA_PAGE_BYTES = 1_048_576
_ZSTD_LEVEL = 3
_SEAL = "westofn.sha256"
"""Key of Parquet's own metadata for the SHA-256 of the file, taken with zeros in its place."""
_UNSEALED = b"0" * 64


@dataclass(frozen=True)
class Column:
    """One column of a table: its dtype, its meaning, and whether it may be null."""

    dtype: pl.DataType
    meaning: str
    nullable: bool = False


@dataclass(frozen=True)
class Check:
    """A rule that every row must satisfy.

    Attributes:
        rule: the rule in words, for error messages and the documentation.
        broken: expression that is true on each row that breaks the rule; null counts as false.
        shown: columns or named expressions whose values the error message shows for the first such
            row.
    """

    rule: str
    broken: pl.Expr
    shown: tuple[str | pl.Expr, ...]

    def inputs(self) -> set[str]:
        """Names of the columns that the check reads."""
        expressions = [pl.col(item) if isinstance(item, str) else item for item in self.shown]
        return {name for item in (self.broken, *expressions) for name in item.meta.root_names()}


@dataclass(frozen=True, eq=False)
class Table:
    """The schema of one Parquet artifact.

    Attributes:
        name: the table's name, which is also the stem of its file.
        description: what one row holds.
        written_by: the stages that write it; error messages tell the user to rerun them.
        read_by: the stages that read it.
        fields: name -> column, in the order of the file.
        key: columns that together identify a row; rows are sorted by them.
        checks: the rules that every row must satisfy.
        may_be_empty: whether 0 rows are a valid table.
    """

    name: str
    description: str
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    fields: Mapping[str, Column]
    key: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    may_be_empty: bool = False

    def __post_init__(self) -> None:
        used = set(self.key).union(*(check.inputs() for check in self.checks))
        if unknown := used - set(self.fields):
            raise ValueError(f"table {self.name}: key or checks name unknown columns {unknown}")

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """Dtype of each column, in the order of the file."""
        return {name: column.dtype for name, column in self.fields.items()}

    @property
    def nullable(self) -> frozenset[str]:
        """Names of the columns that may be null."""
        return frozenset(name for name, column in self.fields.items() if column.nullable)

    def frame(self, columns: Mapping[str, object]) -> pl.DataFrame:
        """Build a frame with the table's dtypes from sequences, arrays or series; not validated."""
        return pl.DataFrame(dict(columns), schema_overrides=self.columns)

    def empty(self) -> pl.DataFrame:
        """Return a frame with the table's columns and 0 rows."""
        return pl.DataFrame(schema=self.columns)

    def read(self, path: Path | str) -> pl.DataFrame:
        """Read and validate a file.

        Returns:
            The rows sorted by key, with the columns in the table's order.

        Raises:
            DataError: the file is missing, is not readable Parquet, does not have the checksum that
                it names (files of other programs name none), or violates the schema; the
                message lists every fault in one line.
        """
        path = Path(path)
        frame = self._read_parquet(path)
        if faults := self.faults(frame):
            raise DataError(self._message(path, faults, f"{self._rerun()}, or mend the file"))
        return self._canonical(frame)

    def validate(self, frame: pl.DataFrame, where: Path | str) -> pl.DataFrame:
        """Return the frame in canonical row and column order, or raise an error.

        Args:
            frame: frame to validate.
            where: name of the frame in error messages: a path, or words such as "prepare:
                preferences".

        Raises:
            DataError: the frame violates the schema; the message lists every fault in one line.
        """
        if faults := self.faults(frame):
            raise DataError(self._message(where, faults, "mend these rows where they are made"))
        return self._canonical(frame)

    def write(self, frame: pl.DataFrame, path: Path | str) -> None:
        """Validate a frame and write it atomically; equal content gives equal bytes.

        Raises:
            DataError: the frame violates the schema, or the disk refuses the file. The earlier file
                is unchanged.
        """
        path = Path(path)
        write_bytes(_encode(self.validate(frame, f"{path}: not written")), path)

    def faults(self, frame: pl.DataFrame) -> list[str]:
        """Describe every violation of the schema by a frame; an empty list if there is none."""
        well_typed = {
            name for name, dtype in self.columns.items() if frame.schema.get(name) == dtype
        }
        faults = [*self._name_faults(frame), *self._dtype_faults(frame)]
        if frame.height == 0:
            return faults if self.may_be_empty else [*faults, "0 rows, needs at least 1"]
        faults += self._null_faults(frame)
        if well_typed.issuperset(self.key):
            faults += self._key_faults(frame)
        faults += [
            self._check_fault(frame, check, broken)
            for check in self.checks
            if well_typed.issuperset(check.inputs())
            and (broken := frame.select(check.broken.fill_null(False)).to_series()).any()
        ]
        return faults

    def _read_parquet(self, path: Path) -> pl.DataFrame:
        if path.is_dir():
            raise DataError(f"{path}: is a folder, needs a Parquet file; {self._rerun()}")
        try:
            with path.open("rb") as handle:
                content = handle.read()
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; {self._rerun()}, which writes it") from None
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror}); make it readable"
            ) from error
        if not content:
            raise DataError(f"{path}: the file has 0 bytes; {self._rerun()}")
        if not content.startswith(_MAGIC):
            raise DataError(
                f"{path}: not a Parquet file: starts with {show(content[:4])}, needs {_MAGIC!r}; "
                f"{self._rerun()}, or convert the file to Parquet"
            )
        if not content.endswith(_MAGIC):
            raise DataError(
                f"{path}: truncated after {len(content)} bytes: a Parquet file ends with "
                f"{_MAGIC!r}; {self._rerun()}, or copy the file again"
            )
        start = _seal_start(content)
        if not _is_as_sealed(content, start):
            raise DataError(
                f"{path}: does not have the SHA-256 that it names ({_SEAL} in its metadata): the "
                f"file was damaged or changed; {self._rerun()}, or copy the file again, or write "
                f"it without that key"
            )
        try:
            return _of_others(content) if start < 0 else pl.read_parquet(io.BytesIO(content))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise DataError(
                f"{path}: corrupt Parquet ({show(str(error))}); {self._rerun()}, "
                f"or copy the file again"
            ) from None

    def _rerun(self) -> str:
        return f"rerun {' or '.join(self.written_by)}"

    def _message(self, where: Path | str, faults: Sequence[str], mend: str) -> str:
        counted = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        listed = "; ".join(f"({number}) {fault}" for number, fault in enumerate(faults, 1))
        return f"{where}: {counted} in table {self.name}: {listed}; {mend}"

    def _canonical(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select(list(self.columns)).sort(self.key).rechunk()

    def _name_faults(self, frame: pl.DataFrame) -> list[str]:
        missing = [name for name in self.fields if name not in frame.columns]
        extra = [name for name in frame.columns if name not in self.fields]
        missing_faults = [
            f"column {name} is missing" + did_you_mean(name, extra) for name in missing
        ]
        return missing_faults + [
            f"column {show(name)} is not one of {', '.join(self.fields)}"
            + did_you_mean(name, missing or list(self.fields))
            for name in extra
        ]

    def _dtype_faults(self, frame: pl.DataFrame) -> list[str]:
        return [
            f"column {name} is {frame.schema[name]}, needs {dtype}"
            for name, dtype in self.columns.items()
            if name in frame.columns and frame.schema[name] != dtype
        ]

    def _null_faults(self, frame: pl.DataFrame) -> list[str]:
        faults = []
        for name, column in self.fields.items():
            if name not in frame.columns or column.nullable:
                continue
            null = frame[name].is_null()
            if count := int(null.sum()):
                first = self._row(frame, int(null.arg_true()[0]))
                faults.append(f"column {name} is null on {_rows(count)}, first {first}; needs none")
        return faults

    def _key_faults(self, frame: pl.DataFrame) -> list[str]:
        repeated = frame.select(pl.struct(self.key).is_duplicated()).to_series()
        if not repeated.any():
            return []
        surplus = frame.height - frame.n_unique(list(self.key))
        first = int(repeated.arg_true()[0])
        return [
            f"{_rows(surplus)} too many for key ({', '.join(self.key)}), first repeated "
            f"{self._row(frame, first)}; needs unique keys"
        ]

    def _check_fault(self, frame: pl.DataFrame, check: Check, broken: pl.Series) -> str:
        first = int(broken.arg_true()[0])
        shown = frame.select(check.shown).row(first, named=True)
        values = ", ".join(f"{name}={show(value)}" for name, value in shown.items())
        count = int(broken.sum())
        return f"{_rows(count)} against '{check.rule}', first {self._row(frame, first)}: {values}"

    def _row(self, frame: pl.DataFrame, index: int) -> str:
        """Name a row by its key, or by its 1-based number if a key column is missing."""
        if not set(self.key) <= set(frame.columns):
            return f"row {index + 1}"
        return ", ".join(f"{name}={show(frame[name][index])}" for name in self.key)


def show(value: object) -> str:
    r"""Format a value on one short line.

    >>> show("two\nlines")
    "'two\\nlines'"
    """
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return a hint for a misspelt name, or an empty text.

    >>> did_you_mean("prmpt", ["prompt", "split"])
    ' (did you mean prompt?)'
    """
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _encode(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(
        buffer,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        statistics=True,
        row_group_size=_ROW_GROUP_ROWS,
        data_page_size=_DATA_PAGE_BYTES,
        metadata={_SEAL: _UNSEALED.decode()},
    )
    content = buffer.getvalue()
    start = _seal_start(content)
    return content[:start] + _seal_of(content, start) + content[start + len(_UNSEALED) :]


def _of_others(content: bytes) -> pl.DataFrame:
    """Read a file that names no checksum, so that it may be damaged.

    The reader of polars writes a trace of Rust to stderr for some damaged pages; that of Arrow
    raises, and its `validate` looks at every text and offset.

    Raises:
        OSError: The file is damaged, or holds what polars cannot.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        table = parquet.read_table(io.BytesIO(content))
        table.validate(full=True)
        table.schema.to_string()  # refuses names that are not UTF-8
        # Without metadata, which may be no UTF-8 either.
        frame = pl.from_arrow(pa.table(table.columns, names=table.schema.names))
    except (pa.ArrowException, ValueError, TypeError, MemoryError) as error:
        raise OSError(str(error)) from None
    assert isinstance(frame, pl.DataFrame)  # of a table
    return frame


def _is_as_sealed(content: bytes, start: int) -> bool:
    """Return whether a Parquet file has the checksum that stands at a place; True if none does."""
    if start < 0:
        return True
    return content[start : start + len(_UNSEALED)] == _seal_of(content, start)


def _seal_start(content: bytes) -> int:
    """Return where the checksum stands in a Parquet file; −1 if there is none.

    The footer is in Thrift's compact protocol: after the key, 0x18 announces a text and the next
    byte is its length. The file ends with the footer's length (4 bytes) and `PAR1`.
    """
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    key = _SEAL.encode() + bytes([0x18, len(_UNSEALED)])
    place = content.rfind(key, max(footer, 0))
    return place if place < 0 else place + len(key)


def _seal_of(content: bytes, start: int) -> bytes:
    """Return the SHA-256 of a file with zeros in place of its checksum, as hexadecimal digits."""
    view = memoryview(content)
    digest = hashlib.sha256(view[:start])
    digest.update(_UNSEALED)
    digest.update(view[start + len(_UNSEALED) :])
    return digest.hexdigest().encode()
