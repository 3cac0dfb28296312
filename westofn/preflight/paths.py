"""Files and folders that params.yaml names: there, of a form that is read, and not empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from westofn.errors import DataError, ParameterError
from westofn.params.whole import Params


def require_files(params: Params) -> None:
    """Refuse a path that a stage would read and cannot.

    Raises:
        ParameterError: A path is the repository itself, or a folder above it.
        DataError: A path is missing, holds no data file, or holds an empty or special one.
    """
    for key, path in _read_paths(params):
        from westofn.sources.reading import files_of, refuse_special  # needed by own data alone

        refuse_special(path, key)
        if Path.cwd().is_relative_to(path.resolve()):
            raise ParameterError(
                f"{key} is {str(path)!r}, which holds this repository and its outputs; give a file "
                "or folder with your data alone"
            )
        for file in files_of(path, key):
            if file.is_file() and not file.stat().st_size:
                raise DataError(f"{file}: is empty; copy it again, or mend {key}")


def _read_paths(params: Params) -> Iterator[tuple[str, Path]]:
    """Yield key and path of everything that `prepare` and `sample` read from files."""
    prepare, sample = params.prepare, params.sample
    if prepare.source != "world" and prepare.hub.name == "none":
        yield "prepare.path", Path(prepare.path)
    if prepare.sft == "file":
        yield "prepare.sft_path", Path(prepare.sft_path)
    if prepare.unlabeled in ("file", "both"):
        yield "prepare.unlabeled_path", Path(prepare.unlabeled_path)
    if prepare.answers == "file":
        yield "prepare.answers_path", Path(prepare.answers_path)
    if sample.engine == "file":
        yield "sample.path", Path(sample.path)
