"""Checksums of folders and of JSON files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.damages import DAMAGES
from westofn.artifacts.integrity import (
    MANIFEST,
    checksums,
    damage,
    read_sealed,
    write_manifest,
    write_sealed,
)
from westofn.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"\x00" * 100)
    write_manifest(tmp_path)
    return tmp_path


def test_checksums_are_those_of_sha_256(folder: Path) -> None:
    # FIPS 180-4, example B.1.
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksums(folder)["a"] == known
    assert damage(folder) is None


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["a", "b", MANIFEST])
def test_every_damage_of_a_file_with_a_manifest_is_described(
    name: str, how: str, folder: Path
) -> None:
    DAMAGES[how](folder / name)
    fault = damage(folder)
    assert fault is not None
    assert str(folder / name) in fault
    assert "\n" not in fault


def test_a_manifest_is_written_again_without_itself(folder: Path) -> None:
    before = (folder / MANIFEST).read_bytes()
    write_manifest(folder)
    assert (folder / MANIFEST).read_bytes() == before
    assert set(json.loads(before)["files"]) == {"a", "b"}


def test_a_folder_without_a_manifest_and_a_file_are_damaged(tmp_path: Path) -> None:
    assert "manifest.json: no such file" in str(damage(tmp_path))
    (tmp_path / "file").touch()
    assert damage(tmp_path / "file") is not None


@pytest.mark.parametrize("files", [None, [], 3, {"a": None}, {"../a": "x"}])
def test_a_manifest_with_a_right_checksum_and_a_wrong_content_is_damaged(
    files: object, folder: Path
) -> None:
    write_sealed({"files": files}, folder / MANIFEST)
    assert damage(folder) is not None
    write_sealed({}, folder / MANIFEST)
    assert damage(folder) is not None


def test_a_sealed_object_comes_back_with_plain_numbers(tmp_path: Path) -> None:
    value = {"x": 0.1 + 0.2, "n": np.int64(7), "deep": {"f": np.float32(0.5), "t": "ü\n"}}
    write_sealed(value, tmp_path / "a.json")
    assert read_sealed(tmp_path / "a.json") == value


def test_every_flipped_bit_of_a_sealed_object_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed({"accuracy": 0.75, "rows": 12}, path)
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            try:
                value = read_sealed(path)
            except DataError as error:
                assert "\n" not in str(error)  # noqa: PT017 (white space is not refused)
            else:
                assert value == {"accuracy": 0.75, "rows": 12}
