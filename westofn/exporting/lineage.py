"""Look up the parameters of an output in dvc.lock.

params.yaml can change after an output was written. dvc.lock records the parameters of each stage
and the hashes of its inputs and outputs. An output is found by the hash of its content, and its
inputs by their hashes, recursively.
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
    """The parameters that produced an output.

    Attributes:
        digest: DVC's hash of the output.
        params: Section -> values, from all stages that led to the output. Empty if dvc.lock does
            not contain the hash, or if a stage has since written a different result.
    """

    digest: str
    params: Mapping[str, Any]


def lineage_of(output: Path, lock: Path = LOCK) -> Lineage:
    """Find the parameters that produced an output.

    Args:
        output: A file or folder that a stage wrote; it can have been copied elsewhere.
        lock: Path of dvc.lock; without the file the parameters are unknown.

    Raises:
        DataError: dvc.lock is damaged.
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
    """Return DVC's hash: MD5 of a file, or of a folder's list of file hashes with suffix `.dir`."""
    if path.is_file():
        return _md5(path.read_bytes())
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = [(file.relative_to(path).as_posix(), _md5(file.read_bytes())) for file in files]
    entries = [{"md5": digest, "relpath": name} for name, digest in sorted(listed)]
    return _md5(json.dumps(entries, sort_keys=True).encode()) + ".dir"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def recorded_stages(lock: Path) -> dict[str, Any]:
    """Return name -> stage from dvc.lock; empty if there is no such file.

    Raises:
        DataError: The file is damaged.
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
    """An input of a stage has since changed."""


def _params(stage: Mapping[str, Any], stages: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a stage and its ancestors; the nearest stage takes precedence."""
    producers = {
        out["path"]: (name, out["md5"])
        for name, other in stages.items()
        for out in other.get("outs", [])
        if "md5" in out
    }
    params: dict[str, Any] = {}
    waiting, seen = deque([stage]), set[str]()
    while waiting:
        current = waiting.popleft()
        for section, values in current.get("params", {}).get("params.yaml", {}).items():
            params.setdefault(section, values)
        for dep in current.get("deps", []):
            producer, digest = producers.get(dep["path"], ("", ""))
            # `check` depends on all parameters but its output is constant, so it is no ancestor.
            if producer in {"", "check", *seen}:
                continue
            if dep["md5"] != digest:
                raise _StaleError
            seen.add(producer)
            waiting.append(stages[producer])
    return params


def _portable(value: object) -> object:
    """Reduce absolute paths in a value to their last component."""
    if isinstance(value, Mapping):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    for kind in (PurePosixPath, PureWindowsPath):
        if isinstance(value, str) and (kind(value).is_absolute() or value.startswith("~")):
            return kind(value).name
    return value
