"""Damages of a file or a folder's file, as a full disk, a broken one or a mistake leaves them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def _cut(share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: min(int(len(content) * share), len(content) - 1)])

    return damage


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "emptied": _cut(0),
    "cut in half": _cut(0.5),
    "without its last byte": _cut(1),
    "a flipped bit": _flip,
    "deleted": Path.unlink,
    "a folder": _folder,
}


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines about damage on stderr since the last call."""
    return [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]


def copied(source: Path, target: Path) -> Path:
    """Replace a folder by a copy of another."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target
