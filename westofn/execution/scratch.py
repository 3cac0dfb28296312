"""A stage's working folder, outside its outputs.

DVC removes outputs before a stage starts; here it cannot remove what a killed run had finished.

`.scratch/<stage>/<digest>`, where the digest covers the parameters and the content of the inputs:
other parameters or data never meet another run's work. A lock keeps a second process out, also
when the first one outlived the `dvc` that started it. The folder goes when the stage is done.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from westofn.errors import DataError, ParameterError, WestofnError
from westofn.execution.processes import count, is_first, part

ROOT = Path(".scratch")


class BusyError(WestofnError):
    """Another process is running the same stage on the same inputs."""


@contextmanager
def scratch(
    stage: str, settings: object, inputs: Sequence[Path], *, together: bool = False
) -> Iterator[Path]:
    """The locked working folder of one stage run; kept when the run fails.

    Args:
        stage: With the iteration, such as `sample-k1`.
        settings: JSON-able; every parameter that the work depends on.
        inputs: Files and folders that it depends on.
        together: Whether processes that torchrun started share the folder. The first of them makes
            it and removes it when all are done; until they have met it in training, the others
            must not use it.

    Raises:
        ParameterError: torchrun started several processes and the stage runs in one.
        BusyError: Another process holds it.
        DataError: An input is missing.
    """
    if count() > 1 and not together:
        raise ParameterError(
            f"{stage}: torchrun started {count()} processes, this stage runs in one; run it with "
            "`python -m`"
        )
    digest = _digest(settings, inputs)
    home = ROOT / stage
    folder = home / digest
    if not is_first():
        yield folder
        part()
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
        # Not before the lock is held: the last holder may just be removing the folder.
        folder.mkdir(exist_ok=True)
        yield folder
        part()
        shutil.rmtree(folder)
        lock.unlink()


def model_folders(*names: str) -> list[Path]:
    """The folders among models that parameters name: inputs as tables are, by their content.

    Args:
        names: Of models: folders, names on the hub, or `policy` and `scratch`, which name neither.
    """
    return [
        Path(name) for name in names if name not in ("policy", "scratch") and Path(name).is_dir()
    ]


def _lock(path: Path) -> TextIO | None:
    """The lock's file, open and locked; None where another process holds it.

    A holder that is done unlinks the file. Who opened it before that gets a lock on a file without
    a name, which keeps nobody out, so it opens the path again.
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
    """Whether the open file is still the one of this name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle.fileno()))
    except FileNotFoundError:
        return False


def _digest(settings: object, inputs: Sequence[Path]) -> str:
    digest = hashlib.blake2b(digest_size=12)
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for path in inputs:
        if not path.exists():
            raise DataError(f"{path} is missing; run `dvc repro` for the stage that writes it")
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            digest.update(f"\n{file.relative_to(path.parent)}:".encode())
            with file.open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "blake2b").digest())
    return digest.hexdigest()
