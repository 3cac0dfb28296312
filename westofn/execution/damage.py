"""Finished work that was damaged: it is removed with one line on stderr, and done again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import typer

from westofn.errors import DataError, ModelError
from westofn.execution.processes import is_first
from westofn.models.card import check_files, read_card


def drop(name: str, path: Path, fault: str, follows: str) -> None:
    """Remove a damaged file or folder, and print one line; only the first process does.

    Args:
        name: Name of the stage or the arm.
        path: The file or folder.
        fault: What is wrong; of an error message, the part before the first semicolon is printed.
        follows: What happens now.
    """
    if not is_first():
        return
    remove(path)
    reason = " ".join(fault.partition(";")[0].split())
    typer.secho(f"WARNING: {name}: damaged and removed: {reason}; {follows}", fg="yellow", err=True)


def remove(path: Path) -> None:
    """Remove a file or a folder; only the first process does."""
    if not is_first():
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def not_tensors(name: str, path: str, error: Exception) -> DataError:
    """Return the error for a checkpoint that holds something else than tensors and numbers.

    Args:
        name: Name of the stage or the arm.
        path: The checkpoint.
        error: What torch said, which ran nothing of the file.
    """
    reason = " ".join(str(error).split()).partition(".")[0]
    return DataError(
        f"{name}: {path} holds something else than tensors and numbers, which is not loaded "
        f"({reason}); remove that folder and run again"
    )


def has_model(name: str, folder: Path, role: Literal["policy", "reward_model"]) -> bool:
    """Return whether a folder holds a whole model; a damaged one is dropped.

    Args:
        name: Name of the stage or the arm.
        folder: Folder of a model that an earlier run may have finished.
        role: What the model is for.
    """
    if not folder.exists():
        return False
    try:
        check_files(folder, read_card(folder, role))
    except ModelError as error:
        drop(name, folder, str(error), "this model is trained again")
        return False
    return True
