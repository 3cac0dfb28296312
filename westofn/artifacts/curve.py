"""The curve of a training run: what was measured on the way, in a file in the model's folder.

A JSON list with a record a line, which is what `dvc plots` reads (it refuses files of JSON lines).
Every record of a file has the same keys, as DVC needs; null says that nothing was measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from westofn.artifacts.atomic import write_bytes
from westofn.artifacts.json_file import read_records
from westofn.errors import DataError

CURVE = "curve.json"
DIGITS = 6
"""Significant digits of a number."""
COLUMNS = ("split", "step", "loss", "accuracy", "margin", "learning_rate", "grad_norm")
"""What every record has; some runs measure more."""

Point = dict[str, Any]
"""One point: numbers by name, its split (train or validation), and perhaps its member and run."""


def write_curve(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write the curve into a model's folder; equal rows give equal bytes.

    Raises:
        DataError: A number is not finite, or the disk refuses the file.
    """
    extra = list(dict.fromkeys(key for row in rows for key in row if key not in COLUMNS))
    path = folder / CURVE
    lines = [
        json.dumps({key: _rounded(row.get(key), path) for key in (*COLUMNS, *extra)})
        for row in rows
    ]
    write_bytes(("[\n" + ",\n".join(lines) + "\n]\n").encode(), path)


def read_curve(folder: Path) -> list[Point]:
    """The curve in a model's folder, without what was not measured; empty where there is none.

    Raises:
        DataError: The file is not a list of records.
    """
    path = folder / CURVE
    if not path.is_file():
        return []
    return [{k: v for k, v in row.items() if v is not None} for row in read_records(path)]


def _rounded(value: Any, path: Path) -> Any:
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        raise DataError(f"{path}: not written: a value is {value}, needs finite numbers")
    return float(f"{value:.{DIGITS}g}")
