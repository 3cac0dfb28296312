"""New values in params.yaml; every other byte stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from westofn.artifacts.atomic import write_bytes
from westofn.errors import ParameterError

_SCALAR = re.compile(r"[^\s#,{}\[\]]+")
_COMMENT = re.compile(r" +(?=#)")


def set_values(path: Path, values: Mapping[str, float]) -> bool:
    """Write values into a YAML file; returns whether that changes it.

    Args:
        path: The file.
        values: Dotted key -> value.

    Raises:
        ParameterError: A key is not in the file or is no plain number there; nothing is written.
    """
    text = path.read_bytes().decode("utf-8")
    changed = with_values(text, values, str(path))
    if changed == text:
        return False
    write_bytes(changed.encode("utf-8"), path)
    return True


def with_values(text: str, values: Mapping[str, float], where: str = "params.yaml") -> str:
    r"""YAML text with other values of some keys; comments stay in their columns.

    A value that is equal already stays as it is written. Dumping the loaded document would restyle
    what is not in DVC's own style, so only the scalars themselves are replaced.

    Raises:
        ParameterError: A key is not there or is no plain number.

    >>> with_values("a:\n  b: 0.0   # note\n", {"a.b": 0.25})
    'a:\n  b: 0.25  # note\n'
    """
    document = YAML().load(text)
    spots = []
    for key, value in values.items():
        *sections, name = key.split(".")
        try:
            section: Any = document
            for part in sections:
                section = section[part]
            if section[name] != value:
                spots.append((*section.lc.value(name), value))
            section[name] = value
        except (KeyError, TypeError, AttributeError):
            raise ParameterError(
                f"{where}: there is no {key} to set; add it (git diff {where} shows what changed)"
            ) from None
    lines = text.splitlines(keepends=True)
    for line, column, value in sorted(spots, reverse=True):  # earlier columns stay valid
        lines[line] = _replaced(lines[line], column, repr(value))
    changed = "".join(lines)
    if not _holds(changed, document):
        keys = " and ".join(values)
        raise ParameterError(f"{where}: no plain number is at {keys}; set it by hand")
    return changed


def _holds(text: str, document: Any) -> bool:
    try:
        return bool(YAML(typ="safe", pure=True).load(text) == document)
    except YAMLError:
        return False


def _replaced(line: str, column: int, value: str) -> str:
    """The scalar at a column replaced; a comment after it stays in its column if it can."""
    found = _SCALAR.match(line, column)
    end = found.end() if found else column
    rest = line[end:]
    if gap := _COMMENT.match(rest):
        width = max(1, gap.end() + end - column - len(value))
        rest = " " * width + rest[gap.end() :]
    return line[:column] + value + rest
