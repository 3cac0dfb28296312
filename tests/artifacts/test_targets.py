"""A command that writes refuses a path where it would do harm, before it computes anything."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import pytest

from westofn.artifacts.targets import require_file_name, require_folder_name
from westofn.errors import DataError


class Require(Protocol):
    def __call__(self, out: Path, inputs: Iterable[Path]) -> None: ...


BOTH = pytest.mark.parametrize("require", [require_file_name, require_folder_name])


@BOTH
def test_a_new_name_is_accepted_at_any_depth(require: Require, tmp_path: Path) -> None:
    (tmp_path / "rm").mkdir()
    require(tmp_path / "new", [tmp_path / "rm"])
    require(tmp_path / "rm.jsonl", [tmp_path / "rm"])  # beside the input, not in it
    require(tmp_path / "some" / "new" / "place", [tmp_path / "rm", tmp_path / "gone"])
    assert [path.name for path in tmp_path.iterdir()] == ["rm"]


def test_an_earlier_result_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    require_file_name(tmp_path / "file", [])
    require_folder_name(tmp_path / "folder", [])
    with pytest.raises(DataError, match="folder: is a folder, needs a file name"):
        require_file_name(tmp_path / "folder", [])
    with pytest.raises(DataError, match="file: is a file, needs the name of a folder"):
        require_folder_name(tmp_path / "file", [])


@BOTH
def test_a_device_a_pipe_and_a_link_to_them_are_refused(require: Require, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (Path("/dev/null"), tmp_path / "pipe", tmp_path / "link"):
        with pytest.raises(DataError, match=f"^{path}: is a device or a pipe"):
            require(path, [])


@BOTH
def test_an_input_is_refused_whatever_it_is_called(
    require: Require, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models/rm").mkdir(parents=True)
    Path("link").symlink_to("models")
    for out, needed in (
        ("models/rm/x", "models/rm/x: lies in models/rm, which must not change"),
        ("models/rm/deep/x", "lies in models/rm"),
        ("link/rm/x", "link/rm/x: lies in models/rm"),
        ("other/../models/rm/x", "lies in models/rm"),
        (str(tmp_path / "models" / "rm" / "x"), "lies in models/rm"),
    ):
        with pytest.raises(DataError, match=needed):
            require(Path(out), [Path("models/rm")])


def test_an_input_is_not_replaced_by_itself_or_by_what_holds_it(tmp_path: Path) -> None:
    (tmp_path / "rm" / "member").mkdir(parents=True)
    (tmp_path / "rows.jsonl").touch()
    (tmp_path / "link.jsonl").symlink_to("rows.jsonl")
    for name in ("rows.jsonl", "link.jsonl"):
        with pytest.raises(DataError, match=f"{name}: is an input of this command"):
            require_file_name(tmp_path / name, [tmp_path / "rows.jsonl"])
    with pytest.raises(DataError, match="rm: is an input"):
        require_folder_name(tmp_path / "rm", [tmp_path / "rm"])
    with pytest.raises(DataError, match=r"rm: holds .*member, an input"):
        require_folder_name(tmp_path / "rm", [tmp_path / "rm" / "member"])


@BOTH
def test_the_outputs_of_a_pipeline_are_left_to_it(require: Require, tmp_path: Path) -> None:
    (tmp_path / "clone" / "data").mkdir(parents=True)
    (tmp_path / "clone" / "dvc.yaml").touch()
    (tmp_path / "copy" / "prepared").mkdir(parents=True)
    (tmp_path / "copy" / "prepared" / "preferences.parquet").touch()
    for out in ("clone/data/x", "clone/data/loop/k1/x", "copy/x", "copy/loop/x"):
        with pytest.raises(DataError, match=r"lies in (data|copy), the outputs of the pipeline"):
            require(tmp_path / out, [])
    (tmp_path / "own" / "data").mkdir(parents=True)
    for out in ("clone/exports/x", "own/data/x"):
        require(tmp_path / out, [])


@BOTH
def test_a_path_that_the_system_refuses_is_one_error(require: Require, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out, needed in (
        (tmp_path / "file" / "in" / "x", "a part of the path is a file"),
        (tmp_path / ("x" * 300), "cannot be written: File name too long"),
    ):
        with pytest.raises(DataError, match=needed):
            require(out, [])
