"""Atomic writes of a file that is written in parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from westofn.artifacts.atomic import beside, refused, sweep, sync
from westofn.errors import DataError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a handle to write to; the file appears at `path` if the block ends without an error.

    Missing parent folders are created. After a failure an earlier file is unchanged.

    Raises:
        DataError: The system refused (disk full, no permission).
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder, needs a file name; give another name")
    temporary = beside(path)
    sweep(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = temporary.open("wb")
    except OSError as error:
        raise refused(path, error) from error
    try:
        with handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
