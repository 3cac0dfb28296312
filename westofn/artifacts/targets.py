"""Checks of the path that a command writes to, before it computes anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from westofn.artifacts.atomic import refusal
from westofn.errors import DataError


def require_file_name(out: Path, inputs: Iterable[Path]) -> None:
    """Refuse a path at which a file would replace something other than a file, or an input.

    Args:
        out: Path of the file to write.
        inputs: Files and folders that the command reads.

    Raises:
        DataError: `out` is a folder, a device or a pipe, is an input, lies in an input or in the
            outputs of a pipeline, or a part of the path is a file.
    """
    if _is_folder(out):
        raise DataError(f"{out}: is a folder, needs a file name; give another name")
    _require_apart(out, inputs)


def require_folder_name(out: Path, inputs: Iterable[Path]) -> None:
    """Refuse a path at which a folder would replace something other than a folder, or an input.

    Args:
        out: Path of the folder to write.
        inputs: Files and folders that the command reads.

    Raises:
        DataError: `out` is a file, a device or a pipe, is, holds or lies in an input, lies in the
            outputs of a pipeline, or a part of the path is a file.
    """
    if _is_folder(out) is False:
        raise DataError(f"{out}: is a file, needs the name of a folder; give another name")
    _require_apart(out, inputs)


def _is_folder(out: Path) -> bool | None:
    """Return whether a path is a folder, False for a file; None if nothing is there."""
    try:
        mode = out.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {refusal(error) or error.strerror}") from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError(f"{out}: is a device or a pipe, which would be replaced; give another name")
    return stat.S_ISDIR(mode)


def _require_apart(out: Path, inputs: Iterable[Path]) -> None:
    """Refuse a path that is, holds or lies in an input, or lies in the outputs of a pipeline."""
    place = Path(os.path.realpath(out))
    holders = (place, *place.parents)
    for path in inputs:
        kept = Path(os.path.realpath(path))
        if place == kept:
            raise DataError(f"{out}: is an input of this command; give another name")
        if kept in holders:
            raise DataError(f"{out}: lies in {path}, which must not change; give a path elsewhere")
        if place in kept.parents:
            raise DataError(f"{out}: holds {path}, an input of this command; give another name")
    for folder in filter(_is_outputs, holders):
        raise DataError(
            f"{out}: lies in {folder.name}, the outputs of the pipeline, which must not change; "
            "give a path elsewhere, such as exports/"
        )


def _is_outputs(folder: Path) -> bool:
    """Return whether a folder is `data` beside dvc.yaml, or has what `prepare` writes."""
    beside = folder.name == "data" and (folder.parent / "dvc.yaml").is_file()
    return beside or (folder / "prepared" / "preferences.parquet").is_file()
