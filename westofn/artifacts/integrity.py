"""SHA-256 checksums: a file that was cut short or changed is noticed before anything reads it.

A folder has a manifest with the checksum of every file, which is written last. A JSON file can hold
the checksum of its own content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from westofn.artifacts.atomic import sync
from westofn.artifacts.json_file import plain_value, read_json, write_json
from westofn.artifacts.table import show
from westofn.errors import DataError

MANIFEST = "manifest.json"
SEAL = "sha256"
"""The key of a JSON file's own checksum."""
_FILES = "files"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, 64 hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    """Return name -> SHA-256 of the files that lie directly in a folder."""
    return {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.is_file()}


def difference(folder: Path, expected: Mapping[str, str]) -> str | None:
    """Describe the first file that is missing or has another checksum; None if there is none.

    Args:
        folder: Folder of the files.
        expected: Name -> SHA-256.
    """
    for name, digest in expected.items():
        if Path(name).name != name:
            return f"{folder}: {show(name)} is named, needs the name of a file in the folder"
        path = folder / name
        if not path.is_file():
            return f"{path}: {'is a folder' if path.is_dir() else 'is missing'}, needs a file"
        try:
            actual = sha256_of(path)
        except OSError as error:
            return f"{path}: cannot be read ({error.strerror})"
        if actual != digest:
            return f"{path}: has SHA-256 {actual[:12]}…, at save it had {str(digest)[:12]}…"
    return None


def write_manifest(folder: Path) -> None:
    """Flush the files of a folder to disk, then write their checksums atomically.

    Raises:
        DataError: The disk refuses the manifest.
    """
    files = checksums(folder)
    files.pop(MANIFEST, None)
    for name in files:
        sync(folder / name)
    write_sealed({_FILES: files}, folder / MANIFEST)


def damage(folder: Path) -> str | None:
    """Describe what is wrong with a folder that has a manifest; None if every file is as written.

    Files that the manifest does not name are not looked at.
    """
    try:
        files = read_sealed(folder / MANIFEST).get(_FILES)
    except DataError as error:
        return str(error)
    if not isinstance(files, dict) or not files:
        return f"{folder / MANIFEST}: {_FILES} is {show(files)}, needs names and checksums"
    return difference(folder, files)


def write_sealed(value: Mapping[str, object], path: Path) -> None:
    """Write a JSON object with the checksum of its content under the key `sha256`.

    Raises:
        DataError: See `write_json`.
    """
    content = {key: plain_value(item, path, key) for key, item in value.items()}
    write_json({**content, SEAL: _digest(content)}, path)


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a JSON object that `write_sealed` wrote, without its checksum.

    Raises:
        DataError: See `read_json`; or the checksum is missing or belongs to other content.
    """
    value = read_json(path)
    seal = value.pop(SEAL, None)
    if seal != _digest(value) or not path.read_bytes().endswith(b"}\n"):
        raise DataError(
            f"{path}: its content does not have the SHA-256 that it names; rerun the stage that "
            "writes it"
        )
    return value


def _digest(value: Mapping[str, object]) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
