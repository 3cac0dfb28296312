"""Write a file piece by piece, and still as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from westofn.artifacts.atomic import refusal
from westofn.errors import DataError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A handle to write to; the file appears at `path` when the block ends without an error.

    Missing parent folders are made. After any failure an earlier file is as it was.

    Raises:
        DataError: The system refused (disk full, no permission).
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder, needs a file's name; give another one")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = temporary.open("wb")
    except OSError as error:
        raise _refused(path, error) from error
    try:
        with handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _refused(path: Path, error: OSError) -> DataError:
    mend = refusal(error) or f"{error.strerror or error}; mend that and rerun"
    return DataError(f"{path}: cannot be written: {mend}")
