"""Parquet tables with a schema (columns, dtypes, key, row checks), validated on read and write."""

from __future__ import annotations

import difflib
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import polars as pl

from westofn.artifacts.atomic import refusal, write_bytes
from westofn.artifacts.stream import whole_file
from westofn.errors import DataError

_MAGIC = b"PAR1"
_SHOWN_CHARACTERS = 60
_ROW_GROUP_ROWS = 65_536
_SEAL = "westofn.sha256"
"""Key of Parquet's own metadata for the SHA-256 of the file, taken with zeros in its place."""
_UNSEALED = b"0" * 64
_FORMAT: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,
    "statistics": True,
    "data_page_size": 1_048_576,
    "metadata": {_SEAL: _UNSEALED.decode()},
}
"""How polars writes the file; another value changes its bytes."""
_ALIKE = 10
"""Bytes of the key that are enough to take it for the key."""
_BYTES_AT_ONCE = 1_048_576

_Read = TypeVar("_Read")


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
        shared: a value that the rule takes from the whole table; None if it looks at no more than
            the rows of one value of the first key column.
        unless: a condition that is found sooner, under which no row of a table that is sorted by
            key breaks the rule; None if there is none.
    """

    rule: str
    broken: pl.Expr
    shown: tuple[str | pl.Expr, ...]
    shared: pl.Expr | None = None
    unless: pl.Expr | None = None

    def inputs(self) -> set[str]:
        """Names of the columns that the check reads."""
        expressions = [pl.col(item) if isinstance(item, str) else item for item in self.shown]
        return {name for item in (self.broken, *expressions) for name in item.meta.root_names()}

    def is_kept_by(self, frame: pl.DataFrame) -> bool:
        """Return whether the condition `unless` holds for a frame that is sorted by key."""
        return self.unless is not None and frame.select(self.unless).item() is True


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
        in_parts: whether `parts` may read it: each check looks at the rows of one value of the
            first key column alone, or says what it shares.
    """

    name: str
    description: str
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    fields: Mapping[str, Column]
    key: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    may_be_empty: bool = False
    in_parts: bool = False

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
        sealed = self._require_sound(path)
        frame = self._decoded(
            path, lambda: _of_ours(path).collect() if sealed else _of_others(path)
        )
        return self._valid(frame, path, f"{self._rerun()}, or mend the file")

    def parts(self, path: Path | str, count: int) -> Iterator[pl.DataFrame]:
        """Read and validate a file a part at a time, so that memory holds one part.

        The checksum of the whole file is compared before the first part. A file of another program
        is read whole, since its rows may have any order.

        Args:
            path: The file.
            count: Values of the first key column in a part; the last part may have fewer.

        Yields:
            All rows of these values, as `read` returns them.

        Raises:
            DataError: As `read`, with its message. Parts before the fault were yielded by then.
            ValueError: The table's checks need all rows at once.
        """
        if not self.in_parts:
            raise ValueError(f"table {self.name} is not read in parts")
        path = Path(path)
        frames = self._row_groups(path) if self._require_sound(path) else iter([self.read(path)])
        before: pl.DataFrame | None = None
        for frame in _by_value(frames, self.key[0], count):
            if not self._goes_on(before, frame):
                self.read(path)  # names all faults
                key = ", ".join(self.key)
                raise DataError(f"{path}: rows are not sorted by ({key}); {self._rerun()}")
            before = frame
            yield frame.select(list(self.columns)).rechunk()
        if before is None:
            self.read(path)

    def validate(self, frame: pl.DataFrame, where: Path | str) -> pl.DataFrame:
        """Return the frame in canonical row and column order, or raise an error.

        Args:
            frame: frame to validate.
            where: name of the frame in error messages: a path, or words such as "prepare:
                preferences".

        Raises:
            DataError: the frame violates the schema; the message lists every fault in one line.
        """
        return self._valid(frame, where, "mend these rows where they are made")

    def write(self, frame: pl.DataFrame, path: Path | str) -> None:
        """Validate a frame and write it atomically; equal content gives equal bytes.

        Raises:
            DataError: the frame violates the schema, or the disk refuses the file. The earlier file
                is unchanged.
        """
        path = Path(path)
        write_bytes(_encode(self.validate(frame, f"{path}: not written")), path)

    def gather(self, parts: Sequence[Path], path: Path) -> None:
        """Write the rows of several files of this table, in order, as `write` writes them all.

        Memory holds a few groups of rows. The bytes are those of `write`.

        Args:
            parts: Files of `write`; all rows of a value of the first key column in one of them.
            path: The file to write.

        Raises:
            DataError: A part is damaged, the rows of all parts together violate the schema, or the
                disk refuses the file. The earlier file is unchanged.
            ValueError: The table's checks need all rows at once.
        """
        for part in parts:
            self._require_sound(part)
        with whole_file(path) as handle:
            temporary = Path(handle.name)
            rows = _of_ours(list(parts))
            try:
                rows.sink_parquet(temporary, row_group_size=_ROW_GROUP_ROWS, **_FORMAT)
            except pl.exceptions.PolarsError as error:
                if reason := refusal(error):
                    raise DataError(f"{path}: cannot be written: {reason}") from error
                raise
            with temporary.open("r+b") as written:
                _seal(written)
            try:
                for _ in self.parts(temporary, _ROW_GROUP_ROWS):
                    pass
            except DataError as error:
                fault = str(error).replace(str(temporary), f"{path}: not written", 1)
                raise DataError(fault) from None

    def faults(self, frame: pl.DataFrame) -> list[str]:
        """Describe every violation of the schema by a frame; an empty list if there is none."""
        return self._faults(frame, self._ascends(frame))

    def _faults(self, frame: pl.DataFrame, ascends: bool) -> list[str]:
        well_typed = {
            name for name, dtype in self.columns.items() if frame.schema.get(name) == dtype
        }
        faults = [*self._name_faults(frame), *self._dtype_faults(frame)]
        if frame.height == 0:
            return faults if self.may_be_empty else [*faults, "0 rows, needs at least 1"]
        faults += self._null_faults(frame)
        if well_typed.issuperset(self.key) and not ascends:
            faults += self._key_faults(frame)
        checks = [
            check
            for check in self.checks
            if well_typed.issuperset(check.inputs()) and not (ascends and check.is_kept_by(frame))
        ]
        if not checks:
            return faults
        broken = frame.lazy().select(
            check.broken.fill_null(False).any().alias(str(place))
            for place, check in enumerate(checks)
        )
        return faults + [
            self._check_fault(frame, check)
            for check, is_broken in zip(checks, broken.collect().row(0), strict=True)
            if is_broken
        ]

    def _valid(self, frame: pl.DataFrame, where: Path | str, mend: str) -> pl.DataFrame:
        ascends = self._ascends(frame)
        if faults := self._faults(frame, ascends):
            raise DataError(self._message(where, faults, mend))
        frame = frame.select(list(self.columns))
        return (frame if ascends else frame.sort(self.key)).rechunk()

    def _goes_on(self, before: pl.DataFrame | None, frame: pl.DataFrame) -> bool:
        """Return whether a part is valid and sorted, and what follows the part before it."""
        if not self._ascends(frame) or self._faults(frame, ascends=True):
            return False
        if before is None:
            return True
        border = pl.concat([before.tail(1), frame.head(1)])
        return self._ascends(border) and self._shared(before) == self._shared(frame)

    def _ascends(self, frame: pl.DataFrame) -> bool:
        """Return whether every row's key is above that of the row before: sorted, and unique."""
        if any(frame.schema.get(name) != self.columns[name] for name in self.key):
            return False
        above: pl.Expr = pl.lit(False)
        for name in reversed(self.key):
            here, before = pl.col(name).slice(1), pl.col(name).slice(0, pl.len() - 1)
            above = (here > before) | ((here == before) & above)
        return frame.height < 2 or bool(frame.select(above.fill_null(False).all()).item())

    def _shared(self, frame: pl.DataFrame) -> tuple[object, ...]:
        """Return what the checks take from the whole table."""
        shared = [check.shared for check in self.checks if check.shared is not None]
        return frame.select(e.alias(str(i)) for i, e in enumerate(shared)).row(0) if shared else ()

    def _row_groups(self, path: Path) -> Iterator[pl.DataFrame]:
        """Yield the rows of a file of `write`, a row group at a time."""
        scan = _of_ours(path)
        rows = self._decoded(path, lambda: scan.select(pl.len()).collect().item())
        for start in range(0, rows, _ROW_GROUP_ROWS):
            group = scan.slice(start, _ROW_GROUP_ROWS)
            yield self._decoded(path, group.collect)

    def _require_sound(self, path: Path) -> bool:
        """Return whether a Parquet file has a checksum, which is then its own.

        Raises:
            DataError: It is missing, is no Parquet file, or has another checksum.
        """
        if path.is_dir():
            raise DataError(f"{path}: is a folder, needs a Parquet file; {self._rerun()}")
        try:
            with path.open("rb") as handle:
                return self._has_seal(handle, path)
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; {self._rerun()}, which writes it") from None
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror}); make it readable"
            ) from error

    def _has_seal(self, handle: BinaryIO, path: Path) -> bool:
        start, (size, end) = handle.read(len(_MAGIC)), _end_of(handle)
        if not size:
            raise DataError(f"{path}: the file has 0 bytes; {self._rerun()}")
        if start != _MAGIC:
            raise DataError(
                f"{path}: not a Parquet file: starts with {show(start)}, needs {_MAGIC!r}; "
                f"{self._rerun()}, or convert the file to Parquet"
            )
        if not end.endswith(_MAGIC):
            raise DataError(
                f"{path}: truncated after {size} bytes: a Parquet file ends with "
                f"{_MAGIC!r}; {self._rerun()}, or copy the file again"
            )
        place = _seal_start(end)
        if place < 0:
            return False
        named = end[place : place + len(_UNSEALED)]
        if named != _seal_of(handle, size - len(end) + place):
            raise DataError(
                f"{path}: does not have the SHA-256 that it names ({_SEAL} in its metadata): the "
                f"file was damaged or changed; {self._rerun()}, or copy the file again, or write "
                f"it without that key"
            )
        return True

    def _decoded(self, path: Path, read: Callable[[], _Read]) -> _Read:
        try:
            return read()
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

    def _check_fault(self, frame: pl.DataFrame, check: Check) -> str:
        broken = frame.select(check.broken.fill_null(False)).to_series()
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


def _encode(frame: pl.DataFrame) -> memoryview:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, row_group_size=_ROW_GROUP_ROWS, **_FORMAT)
    _seal(buffer)
    return buffer.getbuffer()


def _seal(handle: BinaryIO) -> None:
    """Write the checksum of a file into its place."""
    size, end = _end_of(handle)
    start = size - len(end) + _seal_start(end)
    seal = _seal_of(handle, start)
    handle.seek(start)
    handle.write(seal)


def _by_value(frames: Iterator[pl.DataFrame], column: str, count: int) -> Iterator[pl.DataFrame]:
    """Divide the rows of frames anew: all rows of `count` neighbouring values of a column."""
    rest: pl.DataFrame | None = None
    for frame in frames:
        rest = frame if rest is None else pl.concat([rest, frame])
        starts = _starts(rest, column)
        # Rows of the last value may follow.
        whole = starts[: (len(starts) - 1) // count * count + 1 : count]
        for start, stop in pairwise(whole):
            yield rest[start:stop]
        rest = rest[whole[-1] :] if whole else rest
    if rest is not None and rest.height:
        yield rest


def _starts(frame: pl.DataFrame, column: str) -> list[int]:
    """Return the rows whose value in a column is not that of the row before."""
    values = frame.select(pl.col(column).ne_missing(pl.col(column).shift()).alias("new"))
    new = values.to_series().to_numpy().copy()
    new[:1] = True
    starts: list[int] = np.flatnonzero(new).tolist()
    return starts


def _of_ours(path: Path | list[Path]) -> pl.LazyFrame:
    """Read a file, or several, that have the checksum that they name."""
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def _of_others(path: Path) -> pl.DataFrame:
    """Read a file that names no checksum, so that it may be damaged.

    The reader of polars writes a trace of Rust to stderr for some damaged pages; that of Arrow
    raises, and its `validate` looks at every text and offset.

    Raises:
        OSError: The file is damaged, or holds what polars cannot.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            table = file.read()
        table.validate(full=True)
        table.schema.to_string()  # refuses names that are not UTF-8
        # Without metadata, which may be no UTF-8 either.
        frame = pl.from_arrow(pa.table(table.columns, names=table.schema.names))
    except (pa.ArrowException, ValueError, TypeError, MemoryError) as error:
        raise OSError(str(error)) from None
    assert isinstance(frame, pl.DataFrame)  # of a table
    return frame


def _end_of(handle: BinaryIO) -> tuple[int, bytes]:
    """Return the size of a file and its last bytes: a Parquet file's footer, or all of it.

    The file ends with the footer's length (4 bytes) and `PAR1`.
    """
    size = handle.seek(0, io.SEEK_END)
    handle.seek(max(0, size - 8))
    length = int.from_bytes(handle.read(8)[:4], "little") + 8
    handle.seek(max(0, size - length))
    return size, handle.read()


def _seal_start(footer: bytes) -> int:
    """Return where the checksum stands in a Parquet file's footer; −1 if there is none.

    The footer is in Thrift's compact protocol: after the key, 0x18 announces a text and the next
    byte is its length. A half of the key tells where it stands, so that a file whose key was
    damaged does not pass for one of another program.
    """
    key = _SEAL.encode()
    for offset in (0, len(key) // 2):
        place = footer.rfind(key[offset : offset + len(key) // 2]) - offset
        there = footer[max(place, 0) : place + len(key)]
        if sum(a == b for a, b in zip(there, key, strict=False)) >= _ALIKE:
            return place + len(key) + 2
    return -1


def _seal_of(handle: BinaryIO, start: int) -> bytes:
    """Return the SHA-256 of a file with zeros in place of its checksum, as hexadecimal digits."""
    digest = hashlib.sha256()
    handle.seek(0)
    for _ in range(start // _BYTES_AT_ONCE):
        digest.update(handle.read(_BYTES_AT_ONCE))
    digest.update(handle.read(start % _BYTES_AT_ONCE))
    digest.update(_UNSEALED)
    handle.seek(start + len(_UNSEALED))
    while content := handle.read(_BYTES_AT_ONCE):
        digest.update(content)
    return digest.hexdigest().encode()
