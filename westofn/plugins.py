"""Entries of a table by name, or from a file of the user's own in the folder `plugins/`.

A name of the second kind is `file:name`: `example:hinge` is `hinge` in `plugins/example.py`. The
file is executed when the entry is asked for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from westofn.errors import ParameterError

FOLDER = Path("plugins")


def plugin_module(name: str) -> str | None:
    """The module that a name refers to; None where it is the name of a table's entry.

    Raises:
        ParameterError: The file's name is none of a module, such as one with a path.

    >>> plugin_module("example:hinge")
    'example'
    >>> plugin_module("bradley_terry")
    """
    module, colon, _ = name.partition(":")
    if not colon:
        return None
    if not module.isidentifier():
        raise ParameterError(
            f"{name!r} names the file {module!r}, needs the name of a Python file in {FOLDER}/ "
            "without its ending"
        )
    return module


def plugin_file(name: str) -> Path | None:
    """The file that a name refers to; None where it is the name of a table's entry."""
    module = plugin_module(name)
    return None if module is None else FOLDER / f"{module}.py"


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
            raise ParameterError(
                f"{key} is {name!r}, needs {', '.join(table)}, or file:name for an entry of "
                f"{FOLDER}/file.py"
            )
        return table[name]
    entry = name.partition(":")[2]
    module = _executed(path, key)
    if not hasattr(module, entry):
        raise ParameterError(f"{key} is {name!r}, and {path} has no {entry!r}; define it there")
    return getattr(module, entry)


def _executed(path: Path, key: str) -> ModuleType:
    if not path.is_file():
        raise ParameterError(f"{key}: {path} is missing; write it, or name an entry of the table")
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
