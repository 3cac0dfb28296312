"""Working folder of a stage, outside its outputs.

DVC removes outputs before a stage starts, but it does not remove the finished work in this folder.

The folder is `.scratch/<stage>/<digest>`. The digest covers the parameters and the content of the
inputs, so runs with other parameters or data do not share a folder. A lock excludes a second
process, even if the first one outlived the `dvc` that started it. The folder is removed when the
stage succeeds.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from westofn.artifacts.atomic import sweep_all
from westofn.errors import DataError, ParameterError, WestofnError
from westofn.execution.interrupts import keeping
from westofn.execution.processes import count, is_first, leave_group

ROOT = Path(".scratch")


class BusyError(WestofnError):
    """Another process is running the same stage on the same inputs."""


@contextmanager
def scratch(
    stage: str, settings: object, inputs: Sequence[Path], *, together: bool = False
) -> Iterator[Path]:
    """Yield the locked working folder of one stage run; the folder remains if the run fails.

    Args:
        stage: Name of the stage with the iteration, such as `sample-k1`.
        settings: JSON-serialisable value with all parameters that the work depends on.
        inputs: Files and folders that the work depends on.
        together: Whether processes that torchrun started share the folder. The first process
            creates it, and removes it when all are done. The other processes must not use it before
            training has synchronised with the first process.

    Raises:
        ParameterError: torchrun started several processes for a stage that supports one.
        BusyError: Another process holds the lock.
        DataError: An input is missing.
    """
    if count() > 1 and not together:
        raise ParameterError(
            f"{stage}: torchrun started {count()} processes, this stage supports one; run it with "
            "`python -m`"
        )
    digest = _digest(settings, inputs)
    home = ROOT / stage
    folder = home / digest
    if not is_first():
        yield folder
        leave_group()
        return
    home.mkdir(parents=True, exist_ok=True)
    lock = home / f"{digest}.lock"
    handle = _lock(lock)
    if handle is None:
        raise BusyError(
            f"{stage}: another process is running this stage on the same inputs "
            f"(lock {lock}); wait for it, or stop it and run again"
        )
    with handle:
        # Only after locking: the previous holder might be removing the folder.
        folder.mkdir(exist_ok=True)
        sweep_all(folder.rglob(".*.tmp"))
        with keeping(f"finished work stays in {ROOT}, run it again to go on"):
            yield folder
        leave_group()
        shutil.rmtree(folder)
        lock.unlink()


def model_folders(*names: str) -> list[Path]:
    """Return the local folders among the models in parameters; they are inputs of the stage.

    Args:
        names: Models: folders, names on the hub, or the keywords `policy` and `scratch`.
    """
    return [
        Path(name) for name in names if name not in ("policy", "scratch") and Path(name).is_dir()
    ]


def _lock(path: Path) -> TextIO | None:
    """Open and lock the lock file; return None if another process holds the lock.

    A holder deletes the file when it is done. A process that opened the file before would lock a
    deleted file, which excludes nobody, so it opens the path again.
    """
    while True:
        handle = path.open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            return None
        if _lies_at(path, handle):
            return handle
        handle.close()


def _lies_at(path: Path, handle: TextIO) -> bool:
    """Return whether the open file is still the file at the path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle.fileno()))
    except FileNotFoundError:
        return False


def require_inputs(inputs: Iterable[Path]) -> None:
    """Refuse inputs that are not there.

    Raises:
        DataError: An input is missing.
    """
    for path in inputs:
        if not path.exists():
            raise DataError(f"{path} is missing; run `dvc repro` for the stage that writes it")


def _digest(settings: object, inputs: Sequence[Path]) -> str:
    require_inputs(inputs)
    digest = hashlib.blake2b(digest_size=12)
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for path in inputs:
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            digest.update(f"\n{file.relative_to(path.parent)}:".encode())
            with file.open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "blake2b").digest())
    return digest.hexdigest()
