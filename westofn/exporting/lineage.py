"""The parameters that made an output, as dvc.lock recorded them.

params.yaml may have changed since an output was made; dvc.lock holds what each stage was run with,
beside the hashes of what it read and wrote. So an output is found by its content, and its inputs
by theirs, down to the data.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from westofn.errors import DataError

LOCK = Path("dvc.lock")


@dataclass(frozen=True)
class Lineage:
    """How an output was made.

    Attributes:
        digest: The output's content as DVC hashes it.
        params: Section -> values of every stage on the way; empty where dvc.lock does not know the
            content, or a stage on the way has run again with other results since.
    """

    digest: str
    params: Mapping[str, Any]


def lineage_of(output: Path, lock: Path = LOCK) -> Lineage:
    """Find the parameters that an output comes from.

    Args:
        output: A file or folder that a stage wrote, wherever it lies.
        lock: DVC's record; the parameters are unknown where there is none.

    Raises:
        DataError: The record is damaged.
    """
    digest = dvc_digest(output)
    stages = recorded_stages(lock)
    for stage in stages.values():
        if any(out.get("md5") == digest for out in stage.get("outs", [])):
            try:
                params = _params(stage, stages)
            except _StaleError:
                break
            return Lineage(digest, {key: _portable(params[key]) for key in sorted(params)})
    return Lineage(digest, {})


def dvc_digest(path: Path) -> str:
    """MD5 of a file; of a folder, of the list of its files' (with DVC's ending, `.dir`)."""
    if path.is_file():
        return _md5(path.read_bytes())
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = [(file.relative_to(path).as_posix(), _md5(file.read_bytes())) for file in files]
    entries = [{"md5": digest, "relpath": name} for name, digest in sorted(listed)]
    return _md5(json.dumps(entries, sort_keys=True).encode()) + ".dir"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def recorded_stages(lock: Path) -> dict[str, Any]:
    """dvc.lock's stages by name; none where there is no such file.

    Raises:
        DataError: It is damaged.
    """
    if not lock.is_file():
        return {}
    try:
        document = YAML(typ="safe", pure=True).load(lock.read_text(encoding="utf-8"))
        stages: dict[str, Any] = document["stages"]
    except (OSError, UnicodeDecodeError, YAMLError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{lock} cannot be read ({reason}); restore it with git") from None
    return stages


class _StaleError(Exception):
    """A stage read what its input's stage no longer writes."""


def _params(stage: Mapping[str, Any], stages: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a stage and of all before it; where they differ, the nearest stage's."""
    made = {
        out["path"]: (name, out["md5"])
        for name, other in stages.items()
        for out in other.get("outs", [])
        if "md5" in out
    }
    params: dict[str, Any] = {}
    waiting, seen = deque([stage]), set[str]()
    while waiting:
        one = waiting.popleft()
        for section, values in one.get("params", {}).get("params.yaml", {}).items():
            params.setdefault(section, values)
        for dep in one.get("deps", []):
            maker, digest = made.get(dep["path"], ("", ""))
            # `check` depends on all parameters and writes a constant: it makes nothing.
            if maker in {"", "check", *seen}:
                continue
            if dep["md5"] != digest:
                raise _StaleError
            seen.add(maker)
            waiting.append(stages[maker])
    return params


def _portable(value: object) -> object:
    """A value without the folders of the machine it was made on."""
    if isinstance(value, Mapping):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    for kind in (PurePosixPath, PureWindowsPath):
        if isinstance(value, str) and (kind(value).is_absolute() or value.startswith("~")):
            return kind(value).name
    return value
