"""Entries of a table by name, or from a file of the user's own.

A name of the second kind is `file.py:name`, such as `my_losses.py:focal`; the path counts from the
repository's root. The file is executed when the entry is asked for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from westofn.errors import ParameterError


def plugin_file(name: str) -> Path | None:
    """The file that a name refers to; None where it is the name of a table's entry.

    >>> plugin_file("my_losses.py:focal").name
    'my_losses.py'
    >>> plugin_file("bradley_terry")
    """
    path, colon, _ = name.rpartition(":")
    return Path(path) if colon else None


def entry_of(table: Mapping[str, object], name: str, key: str) -> object:
    """The entry that a parameter names; the caller checks what kind of thing a file gave.

    Args:
        table: The project's own entries.
        name: The parameter's value.
        key: The parameter's name, for errors.

    Raises:
        ParameterError: There is no such entry, or the file cannot be executed.
    """
    path = plugin_file(name)
    if path is None:
        if name not in table:
            raise ParameterError(f"{key} is {name!r}, needs {', '.join(table)}, or file.py:name")
        return table[name]
    attribute = name.rpartition(":")[2]
    module = _executed(path, key)
    if not hasattr(module, attribute):
        raise ParameterError(f"{key} is {name!r}, and {path} has no {attribute!r}; define it")
    return getattr(module, attribute)


def _executed(path: Path, key: str) -> ModuleType:
    if path.suffix != ".py" or not path.is_file():
        raise ParameterError(f"{key}: {path} is no Python file; needs file.py:name, from the root")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ParameterError(
            f"{key}: {path} cannot be executed ({type(error).__name__}: {reason}); mend the file"
        ) from error
    return module
