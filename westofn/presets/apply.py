"""A preset becomes params.yaml; what somebody changed there is not lost unasked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from ruamel.yaml.error import YAMLError

from westofn.artifacts.atomic import write_bytes
from westofn.errors import ParameterError
from westofn.presets.catalogue import PRESETS, Line, Preset, lines_of, text_of

_SHOWN = 6
_NOTHING = "–"


@dataclass(frozen=True)
class Change:
    """A value that a preset changes; an absent one is None.

    Attributes:
        key: Dotted.
        old: As params.yaml has it.
        new: As the preset has it.
        why: The preset's comment.
    """

    key: str
    old: Any
    new: Any
    why: str


def changes(current: str, preset: Preset) -> list[Change]:
    """What a preset changes in the text of a params.yaml, in the preset's order.

    Raises:
        ParameterError: The text is not a file of parameters.
    """
    old, new = _lines(current), lines_of(text_of(preset))
    absent = Line(-1, None, "")
    listed = []
    for key in dict.fromkeys([*new, *old]):
        before, after = old.get(key, absent), new.get(key, absent)
        if (key in old) != (key in new) or before.value != after.value:
            listed.append(Change(key, before.value, after.value, after.comment))
    return listed


def write_preset(preset: Preset, path: Path, *, force: bool = False) -> bool:
    """Write a preset's params.yaml; returns whether that changes the file.

    Raises:
        ParameterError: The file is no preset's, so what was changed by hand or by a command would
            be lost, and `force` is not given; nothing is written.
    """
    text, current = text_of(preset), current_text(path)
    if current == text:
        return False
    if current is not None and not force and (edits := edited(current)):
        raise ParameterError(
            f"{path} {edits}, which {preset.name} would overwrite; keep it (commit or copy the "
            "file) and give --force"
        )
    write_bytes(text.encode("utf-8"), path)
    return True


def current_text(path: Path) -> str | None:
    """The text of params.yaml; None where there is none.

    Raises:
        ParameterError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} cannot be read: {error}; make it a UTF-8 text file") from None


def edited(current: str) -> str:
    """How a params.yaml differs from the preset that is nearest; empty where it is one's."""
    if not current or any(current == text_of(preset) for preset in PRESETS):
        return ""
    try:
        differing = {
            preset: [change.key for change in changes(current, preset)] for preset in PRESETS
        }
    except ParameterError as error:
        return str(error)
    nearest = min(differing, key=lambda preset: len(differing[preset]))
    keys = differing[nearest]
    if not keys:
        return f"differs from preset {nearest.name} in comments or layout"
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"differs from preset {nearest.name} in {', '.join(keys[:_SHOWN])}{more}"


def missing_data(preset: Preset) -> list[str]:
    """What a preset reads and is not there yet, with how to get it."""
    lines = lines_of(text_of(preset))
    keys = ["prepare.path"]
    if lines["prepare.sft"].value == "file":
        keys.append("prepare.sft_path")
    return [
        f"{key} is {lines[key].value}, which is not there yet: {lines[key].comment}"
        for key in keys
        if not Path(lines[key].value).exists()
    ]


def print_presets(console: Console) -> None:
    """Print every preset: its name, what it is, and what it is meant for."""
    table = Table(box=None, pad_edge=False)
    for head in ("preset", "data and models", "meant for"):
        table.add_column(head, no_wrap=head == "preset")
    for preset in PRESETS:
        table.add_row(preset.name, preset.about, preset.hardware)
    console.print(table)


def print_changes(preset: Preset, path: Path, console: Console) -> None:
    """Print what a preset changes: the key, the value now, the preset's, and why.

    Raises:
        ParameterError: The file cannot be read, or is not one of parameters.
    """
    current = current_text(path)
    try:
        listed = changes(current or "", preset)
    except ParameterError as error:
        raise ParameterError(f"{path} {error}; mend it, or overwrite it by --force") from None
    table = Table(box=None, pad_edge=False)
    for head in ("key", "now", "preset", "why"):
        table.add_column(head, overflow="fold")
    for change in listed:
        cells = (change.key, _shown(change.old), _shown(change.new), change.why)
        table.add_row(*map(Text, cells))
    console.print(table)
    if edits := edited(current or ""):
        console.print(f"{path} {edits}: --force overwrites it", markup=False, highlight=False)


def _lines(text: str) -> dict[str, Line]:
    if not text:
        return {}
    try:
        return lines_of(text)
    except YAMLError as error:
        raise ParameterError(f"is not valid YAML: {' '.join(str(error).split())}") from None
    except AttributeError:
        raise ParameterError("is no mapping of sections") from None


def _shown(value: Any) -> str:
    return _NOTHING if value is None else str(value)
