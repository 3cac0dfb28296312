"""A fault at every call of every stage that changes a file: does anything get lost?

    python -m benchmarks.soak --points 2000 --seed 0

Writes benchmarks/soak.json and the table of docs/reliability.md. Needs Linux and a C compiler `cc`.
Exits with 1 if a promise was broken.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.soak.faults import build
from benchmarks.soak.points import drawn, shares
from benchmarks.soak.record import Record, write_page
from westofn.artifacts.atomic import write_bytes

RECORD = Path("benchmarks/soak.json")
PAGE = Path("docs/reliability.md")
PRELOAD = "LD_PRELOAD"


def main(
    points: Annotated[int, typer.Option(min=1, help="faults, divided among the stages")] = 2000,
    seed: Annotated[int, typer.Option(help="which points are drawn")] = 0,
    stages: Annotated[
        str, typer.Option(help="names of dvc.yaml with commas, such as code,filter@k1; empty: all")
    ] = "",
    out: Annotated[Path, typer.Option(help="where the counts go; replaced")] = RECORD,
    page: Annotated[Path, typer.Option(help="page whose table is replaced")] = PAGE,
) -> None:
    """Run every stage with faults; write the counts and the table."""
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        if PRELOAD not in os.environ:
            command = [sys.executable, "-m", "benchmarks.soak", *sys.argv[1:]]
            sys.exit(subprocess.run(command, env=preloaded(Path(name)), check=False).returncode)
        record = soak(Path(name), points, seed, [part for part in stages.split(",") if part])
    write_bytes(record.as_json().encode(), out)
    write_page(record, page)
    print(f"{record.tried} faults, {len(record.failures)} broken promises: {out}, {page}")
    for failure in record.failures:
        print(failure)
    sys.exit(1 if record.failures else 0)


def soak(folder: Path, points: int, seed: int, stages: list[str]) -> Record:
    """Run stages with faults.

    Args:
        folder: Empty folder for the tiny root.
        points: Number of faults.
        seed: Which of the possible ones are drawn.
        stages: Names of stages; none are all.
    """
    from benchmarks.soak.run import Soak

    tiny = Soak(folder)
    if unknown := set(stages) - set(tiny.stage_names()):
        raise typer.BadParameter(f"{min(unknown)} is no stage; known: {tiny.stage_names()}")
    possible = tiny.make(stages or tiny.stage_names())
    record = Record(seed, {name: len(listed) for name, listed in possible.items()})
    for name, size in shares(record.possible, points).items():
        started = time.monotonic()
        for point in drawn(possible[name], size, seed):
            record.add(point, tiny.fault_at(point))
        seconds = time.monotonic() - started
        print(f"{name}: {size} of {len(possible[name])} points, {seconds:.0f} s", flush=True)
    return record


def preloaded(folder: Path) -> dict[str, str]:
    """Return the environment in which `soak` works, after compiling the library into a folder."""
    return os.environ | {
        PRELOAD: str(build(folder)),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


if __name__ == "__main__":
    typer.run(main)
