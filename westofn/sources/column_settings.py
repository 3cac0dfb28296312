"""Settings on a command line for reading rows, such as `-S prepare.columns.prompt=question`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import fields
from typing import Literal, NamedTuple

from westofn.artifacts.table import did_you_mean
from westofn.errors import ParameterError
from westofn.sources.columns import Columns

BadRows = Literal["refuse", "drop"]

_PREFIX, _BAD_ROWS = "prepare.columns.", "prepare.bad_rows"
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_YAML_CONSTANTS = {"true", "false", "yes", "no", "on", "off", "null", "none"}


def as_options(columns: Columns) -> list[str]:
    """Return a mapping as options for a command line, one for each column.

    >>> print(*as_options(Columns(prompt="question", label_a="<0")))
    -S prepare.columns.prompt=question -S "prepare.columns.label_a='<0'"
    """
    return [f"-S {_argument(*setting.split('=', 1))}" for setting in columns.settings()]


def _argument(key: str, value: str) -> str:
    """Quote a setting for the shell, and its value for the grammar of overrides."""
    if _PLAIN.fullmatch(value.replace("*", "_")) and value.lower() not in _YAML_CONSTANTS:
        return f'"{key}={value}"' if "*" in value else f"{key}={value}"
    escaped = value.replace("'", "\\'")
    argument = f"{key}='{escaped}'"
    return shlex.quote(argument) if set(argument) & set('"$`\\!') else f'"{argument}"'


class ReadingSettings(NamedTuple):
    """The mapping of columns and the treatment of bad rows that settings give."""

    columns: Columns | None
    bad_rows: BadRows


def parse_settings(settings: Sequence[str], *, needs_labels: bool = True) -> ReadingSettings:
    """Parse settings of prepare.columns and prepare.bad_rows, as `dvc exp run -S` reads them.

    Args:
        settings: such as `prepare.columns.prompt=question`.
        needs_labels: whether the mapping needs one of the forms of preferences.

    Raises:
        ParameterError: a setting is neither prepare.columns nor prepare.bad_rows, or the mapping
            has no form.

    >>> given = parse_settings(["prepare.columns.chosen=a", "prepare.columns.rejected='not a'"])
    >>> given.columns.paths, given.bad_rows
    ({'chosen': 'a', 'rejected': 'not a'}, 'refuse')
    """
    names = [field.name for field in fields(Columns)]
    values = {}
    bad_rows: BadRows = "refuse"
    for setting in settings:
        key, equals, written = setting.partition("=")
        name, value = key.removeprefix(_PREFIX), _unquoted(written)
        if key == _BAD_ROWS and value in ("refuse", "drop"):
            bad_rows = "drop" if value == "drop" else "refuse"
        elif equals and key.startswith(_PREFIX) and name in names:
            values[name] = value
        else:
            raise ParameterError(
                f"-S {setting}: needs {_PREFIX}NAME=PATH with a NAME of {', '.join(names)}"
                f"{did_you_mean(name, names)}, or {_BAD_ROWS}=refuse or drop"
            )
    columns = Columns(**{name: value for name, value in values.items() if value != "none"})
    if columns == Columns():
        return ReadingSettings(None, bad_rows)
    if (not needs_labels or columns.form) and columns.order not in ("higher", "lower"):
        raise ParameterError(f"-S {_PREFIX}order={columns.order}: needs higher or lower")
    return ReadingSettings(columns, bad_rows)


def _unquoted(value: str) -> str:
    for quote in "'\"":
        if len(value) > 1 and value[0] == value[-1] == quote:
            return value[1:-1].replace(f"\\{quote}", quote)
    return value
