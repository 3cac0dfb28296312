"""A file that is written piece by piece appears as a whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from westofn.artifacts.stream import whole_file
from westofn.errors import DataError


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with whole_file(path) as handle:
        handle.write(b"one ")
        handle.write(b"two")
        assert not path.exists()
    assert path.read_bytes() == b"one two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_after_an_error_the_earlier_file_stays(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("earlier")

    def fail() -> None:
        with whole_file(path) as handle:
            handle.write(b"new")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_says_how_to_mend_it(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_file(tmp_path / "file"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match=r"file: cannot be written: the disk is full"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder, needs a file name"), whole_file(tmp_path):
        pass


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match="a part of the path is a file"),
        whole_file(tmp_path / "file" / "in"),
    ):
        pass
