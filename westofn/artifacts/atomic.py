"""Atomic file writes: a failed write leaves the earlier file unchanged."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from westofn.errors import DataError

_MEND = {
    errno.ENOSPC: "the disk is full; free some space and rerun",
    errno.EDQUOT: "the disk quota is used up; free some space and rerun",
    errno.EFBIG: "the file is larger than `ulimit -f` allows; raise that limit and rerun",
    errno.EACCES: "permission denied; make the folder writable and rerun",
    errno.EROFS: "the file system is read-only; make the folder writable and rerun",
    errno.EISDIR: "a folder has this name; move it away and rerun",
    errno.ENOTDIR: "a part of the path is a file, not a folder; move it away and rerun",
    errno.EEXIST: "a part of the path is a file, not a folder; move it away and rerun",
}
_SYSTEM_NUMBER = re.compile(r"\(os error (\d+)\)")  # the format of Rust's errors
_TORCH_WRITER = "inline_container"  # torch gives no error number when the disk is full


def refusal(error: Exception) -> str | None:
    """Return why the system refused to write and how to fix it; None for any other error.

    safetensors and torch do not raise OSError, so their error is recognised by its text.
    """
    if isinstance(error, OSError):
        return _MEND.get(error.errno or 0)
    if match := _SYSTEM_NUMBER.search(str(error)):
        return _MEND.get(int(match.group(1)))
    return _MEND[errno.ENOSPC] if _TORCH_WRITER in str(error) else None


def write_bytes(content: bytes, path: Path) -> None:
    """Write `content` to a temporary file, then rename it to `path`.

    Missing parent folders are created. A reader sees the earlier file or the new file, never a part
    of it. After a failure the earlier file is unchanged and the temporary file is removed.

    Raises:
        DataError: the system refused (disk full, no permission); the earlier file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)  # noqa: PTH105 (the tests break exactly this call)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        mend = refusal(error) or f"{error.strerror or error}; mend that and rerun"
        raise DataError(f"{path}: cannot be written: {mend}") from error


def _sync_folder(folder: Path) -> None:
    """Flush the folder to disk, so that the rename survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
