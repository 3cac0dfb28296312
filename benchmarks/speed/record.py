"""Figures of the rows, as JSON and as the tables of a page."""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.page import replace_between
from benchmarks.speed.rounds import Timed
from westofn.errors import DataError

PACKAGES = ("datasets", "numpy", "pandas", "polars", "pyarrow", "torch", "transformers")
OPTIONAL = ("trl",)
"""Packages whose rows are left out where they are not installed."""


@dataclass
class Record:
    """What was measured.

    Attributes:
        rounds: How often ours and each peer ran in turn.
        machine: Where, see `machine`.
        timed: Loops beside their peers.
        memory: Steps with seconds and peak memory.
    """

    rounds: int
    machine: dict[str, Any]
    timed: list[Timed] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)

    def add(self, *timed: Timed) -> None:
        """Add loops, in place of those with the same names; new ones follow the others."""
        for row in timed:
            names = [(other.loop, other.peer) for other in self.timed]
            if (row.loop, row.peer) in names:
                self.timed[names.index((row.loop, row.peer))] = row
            else:
                self.timed.append(row)

    def remember(self, steps: list[dict[str, Any]]) -> None:
        """Keep the memory of these steps."""
        self.memory = steps

    def as_json(self) -> dict[str, Any]:
        """Return the record as a JSON object."""
        return {
            "machine": self.machine,
            "rounds": self.rounds,
            "timed": [{**asdict(one), "ratio": one.ratio} for one in self.timed],
            "memory": self.memory,
        }


def read_record(path: Path, rounds: int) -> Record:
    """Read a record, to which rows of this machine are added.

    Args:
        path: A file that `Record.as_json` filled.
        rounds: Number of rounds of the new rows.

    Raises:
        DataError: It is of another machine, of other versions or of another number of rounds.
    """
    data = json.loads(path.read_text("utf-8"))
    here = machine()
    packages = data["machine"].pop("packages")
    same = all(here["packages"].get(name) == number for name, number in packages.items())
    if data["rounds"] != rounds or not same or not data["machine"].items() <= here.items():
        raise DataError(
            f"{path} has rows of another machine, of other versions or of {data['rounds']} rounds; "
            "measure all rows (without --rows), or install the packages that it names"
        )
    timed = [Timed(**{key: row[key] for key in row if key != "ratio"}) for row in data["timed"]]
    return Record(rounds, here, timed, data["memory"])


def machine() -> dict[str, Any]:
    """Return the processor, the number of cores and the versions that decide the times."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES} | _optional(),
    }


def _optional() -> dict[str, str]:
    """The optional packages that are there, with their versions."""
    versions = {}
    for name in OPTIONAL:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def write_page(record: Record, page: Path) -> None:
    """Replace what stands between the marks of a page.

    Raises:
        ValueError: The page has no marks.
    """
    where = record.machine
    versions = ", ".join(f"{name} {number}" for name, number in where["packages"].items())
    told = (
        f"{where['processor']}, {where['cores']} cores; Python {where['python']}, {versions}. "
        f"{record.rounds} rounds."
        + "".join(
            f" Rows beside {name} are left out, since it was not installed."
            for name in OPTIONAL
            if name not in where["packages"]
        )
    )
    times = [
        ["loop", "beside", "ours, s", "theirs, s", "ratio", "of the rounds"],
        ["---", "---", "---:", "---:", "---:", "---:"],
        *(
            [
                one.loop,
                one.peer,
                f"{one.ours:.3f}",
                f"{one.theirs:.3f}",
                f"{one.ratio:.1f}",
                f"{one.ratios[0]:.1f} to {one.ratios[-1]:.1f}",
            ]
            for one in record.timed
        ),
    ]
    peaks = [
        ["step", "processor time, s", "peak memory, MiB"],
        ["---", "---:", "---:"],
        *([one["step"], f"{one['seconds']:.1f}", str(one["mebibytes"])] for one in record.memory),
    ]
    replace_between(page, "speed", f"{told}\n\n{table(times)}")
    replace_between(page, "memory", table(peaks))


def table(rows: list[list[str]]) -> str:
    """Return rows as a table in Markdown; the second one has the alignments."""
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
