"""Change values in params.yaml without changing any other byte."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from westofn.artifacts.atomic import write_bytes
from westofn.errors import ParameterError
from westofn.params.file import parse_yaml, read_text

_SCALAR = re.compile(r"[^\s#,{}\[\]]+")
_COMMENT = re.compile(r" +(?=#)")


def set_values(path: Path, values: Mapping[str, float]) -> bool:
    """Write values into a YAML file; return whether the file changed.

    Args:
        path: Path of the file.
        values: Dotted key -> new value.

    Raises:
        ParameterError: The file is not YAML, or a key is missing or does not hold a plain number;
            nothing is written.
    """
    text = read_text(path)
    changed = with_values(text, values, str(path))
    if changed == text:
        return False
    write_bytes(changed.encode("utf-8"), path)
    return True


def with_values(text: str, values: Mapping[str, float], where: str = "params.yaml") -> str:
    r"""Replace values in a YAML text; comments stay in their columns.

    A value that is equal already is not rewritten. Only the scalars are replaced, because dumping
    the document would change its style.

    Raises:
        ParameterError: The text is not YAML, or a key is missing or does not hold a plain number.

    >>> with_values("a:\n  b: 0.0   # note\n", {"a.b": 0.25})
    'a:\n  b: 0.25  # note\n'
    """
    document = parse_yaml(text, where, YAML())
    replacements = []
    for key, value in values.items():
        *sections, name = key.split(".")
        try:
            section: Any = document
            for part in sections:
                section = section[part]
            if section[name] != value:
                replacements.append((*section.lc.value(name), value))
            section[name] = value
        except (KeyError, IndexError, TypeError, AttributeError):
            raise ParameterError(
                f"{where}: key {key} is missing; add it (git diff {where} shows changes)"
            ) from None
    lines = text.splitlines(keepends=True)
    for line, column, value in sorted(replacements, reverse=True):  # keeps earlier columns valid
        if line < len(lines):  # an empty value ends the file
            lines[line] = _replaced(lines[line], column, repr(value))
    changed = "".join(lines)
    if not _holds(changed, document):
        keys = " and ".join(values)
        raise ParameterError(f"{where}: {keys} is not a plain number; set it by hand")
    return changed


def _holds(text: str, document: Any) -> bool:
    try:
        return bool(parse_yaml(text, "", YAML(typ="safe", pure=True)) == document)
    except (ParameterError, RecursionError):
        return False


def _replaced(line: str, column: int, value: str) -> str:
    """Replace the scalar at a column; a comment after it stays in its column if possible."""
    scalar = _SCALAR.match(line, column)
    end = scalar.end() if scalar else column
    rest = line[end:]
    if gap := _COMMENT.match(rest):
        width = max(1, gap.end() + end - column - len(value))
        rest = " " * width + rest[gap.end() :]
    return line[:column] + value + rest
