"""Shards that note what happens to them; Ray's workers import little beside this module."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import polars as pl

from westofn.artifacts.prompts import PROMPTS
from westofn.errors import DataError
from westofn.execution.job import Job
from westofn.execution.shards import shard_files

NAMES = [f"p{row:02d}" for row in range(10)]


def load(notes: Path) -> Path:
    (notes / f"loaded-{os.getpid()}").touch()
    return notes


def work(notes: Path, names: Sequence[str]) -> pl.DataFrame:
    """A table of the names; files in the folder of notes say what happens at a name."""
    (notes / f"work-{names[0]}-{time.monotonic_ns()}").touch()
    if (notes / f"error-{names[0]}").exists():
        raise DataError(f"prompt {names[0]} is bad; mend it")
    if (notes / f"bug-{names[0]}").exists():
        raise ZeroDivisionError("a bug")
    if (notes / f"dies-{names[0]}").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        (notes / f"dies-once-{names[0]}").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    except FileNotFoundError:
        pass
    while (notes / f"waits-{names[0]}").exists():
        time.sleep(0.05)
    return pl.DataFrame(
        {"prompt_id": names, "prompt": [n * 3 for n in names], "split": ["unlabeled"] * len(names)}
    )


def run(folder: Path, notes: Path) -> pl.DataFrame:
    job = Job(partial(load, notes.absolute()), work)
    files = shard_files(NAMES, job, table=PROMPTS, folder=folder, size=2, description="names")
    return pl.concat(map(PROMPTS.read, files))
