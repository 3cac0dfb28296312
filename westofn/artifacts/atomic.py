"""Atomic writes of files and folders: a failed write leaves what was there before.

They are made under a hidden name beside their place, `.NAME.PID.tmp`, and renamed. git and DVC
ignore such names. `sweep` removes those that a killed process left.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from westofn.errors import DataError, WestofnError

_MEND = {
    errno.ENOSPC: "the disk is full; free some space and rerun",
    errno.EDQUOT: "the disk quota is used up; free some space and rerun",
    errno.EIO: "the disk reports an input/output error; check the disk and rerun",
    errno.EFBIG: "the file is larger than `ulimit -f` allows; raise that limit and rerun",
    errno.EACCES: "permission denied; make the folder writable and rerun",
    errno.EROFS: "the file system is read-only; make the folder writable and rerun",
    errno.EISDIR: "a folder has this name; move it away and rerun",
    errno.ENOTDIR: "a part of the path is a file, not a folder; move it away and rerun",
    errno.EEXIST: "a part of the path is a file, not a folder; move it away and rerun",
}
_SYSTEM_NUMBER = re.compile(r"\(os error (\d+)\)")  # the format of Rust's errors
_TEMPORARY = re.compile(r"\..+\.(\d+)(?:\.old)?\.tmp")
_TORCH_WRITER = ("inline_container", "iostream error")  # torch gives no number of the error
_TORCH_MEND = "the disk is full or faulty; free some space, or check the disk, and rerun"


def refusal(error: Exception) -> str | None:
    """Return why the system refused to write and how to fix it; None for any other error.

    safetensors and torch do not raise OSError, so their error is recognised by its text.
    """
    if isinstance(error, OSError):
        return _MEND.get(error.errno or 0)
    if match := _SYSTEM_NUMBER.search(str(error)):
        return _MEND.get(int(match.group(1)))
    return _TORCH_MEND if any(part in str(error) for part in _TORCH_WRITER) else None


def write_bytes(content: bytes | memoryview, path: Path) -> None:
    """Write `content` to a temporary file, then rename it to `path`.

    Missing parent folders are created. A reader sees the earlier file or the new file, never a part
    of it. After a failure the earlier file is unchanged and the temporary file is removed.

    Raises:
        DataError: the system refused (disk full, no permission); the earlier file is untouched.
    """
    temporary = beside(path)
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
        sync(path.parent)
    except OSError as error:
        raise refused(path, error) from error


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder, which replaces `path` if the block ends without an error.

    An earlier folder is removed after the new one is in its place. A reader sees the earlier
    folder, none, or the new folder, never a part of it. Of nested blocks the inner one ends first,
    so its folder is in place first.

    Args:
        path: Folder to write; missing parent folders are created.

    Raises:
        DataError: A file has this name, or the system refused (disk full, no permission). Errors
            of the block name `path` instead of the temporary folder.
    """
    if path.exists() and not path.is_dir():
        raise DataError(f"{path}: is a file, needs to be a folder; move it away and rerun")
    temporary = beside(path)
    sweep(path)
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise refused(path, error) from error
    try:
        try:
            yield temporary
        except Exception as error:
            _rename_in(error, str(temporary), str(path))
            raise
        _put(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def beside(path: Path, role: str = "") -> Path:
    """Return the temporary name of this process for a file or folder."""
    return path.with_name(f".{path.name}.{os.getpid()}{role}.tmp")


def sweep(path: Path) -> None:
    """Remove what killed processes left of writing `path`.

    Call it before this process writes `path`: an earlier process may have had its number.
    """
    name = re.compile(rf"\.{re.escape(path.name)}\.\d+(\.old)?\.tmp")
    with suppress(OSError):
        sweep_all(other for other in path.parent.iterdir() if name.fullmatch(other.name))


def sweep_all(paths: Iterable[Path]) -> None:
    """Remove those of the paths that have the temporary name of a process that has ended."""
    for path in sorted(paths):
        number = _TEMPORARY.fullmatch(path.name)
        if number and not _runs(int(number.group(1))):
            _remove(path)


def refused(path: Path, error: OSError) -> DataError:
    """Return the error that says why a path cannot be written and how to fix it."""
    mend = refusal(error) or f"{error.strerror or error}; mend that and rerun"
    return DataError(f"{path}: cannot be written: {mend}")


def _put(temporary: Path, path: Path) -> None:
    """Flush a complete folder to disk and rename it to its place."""
    old = beside(path, ".old")
    try:
        for entry in (*temporary.rglob("*"), temporary):
            sync(entry)
        if path.exists():
            path.rename(old)
        try:
            temporary.rename(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.rename(path)
            raise
        sync(path.parent)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        if path.exists():
            _remove(old)


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder; what cannot be removed stays for the next sweep."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()


def _runs(process: int) -> bool:
    """Return whether another process with this number runs."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass  # of another user, or no number of a process
    return True


def _rename_in(error: Exception, name: str, instead: str) -> None:
    """Let an error speak of another path."""
    if isinstance(error, WestofnError):
        error.args = tuple(str(part).replace(name, instead) for part in error.args)
    elif isinstance(error, OSError) and error.filename:
        error.filename = os.fspath(error.filename).replace(name, instead)


def sync(path: Path) -> None:
    """Flush a file or the entries of a folder to disk, so that they survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
