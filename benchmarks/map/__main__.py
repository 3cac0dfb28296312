"""The map of worlds: gain of West-of-N against alignment, off-policyness and number of labels.

    python -m benchmarks.map --jobs 2

Policies, pools and finished records are kept in .scratch/map, so a stopped map goes on where it
was. Writes benchmarks/map.json, docs/map.md and docs/figures/map*.svg.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.map.figures import write_figures
from benchmarks.map.page import map_page
from benchmarks.map.run import Task, run_map, write_map
from benchmarks.map.settings import (
    ALIGNMENTS,
    FIRST_SEED,
    NETWORK_PLACES,
    NETWORK_SEEDS,
    SEEDS,
)
from westofn.artifacts.atomic import write_bytes
from westofn.commands.run import run_app

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def draw_map(
    jobs: Annotated[int, typer.Option(min=1, help="worlds at a time, a thread each")] = (
        os.cpu_count() or 1
    ),
    seeds: Annotated[int, typer.Option(min=2, help="with linear heads")] = SEEDS,
    network_seeds: Annotated[
        int, typer.Option(min=0, help="with trained networks; 0: linear heads alone")
    ] = NETWORK_SEEDS,
    out: Annotated[Path, typer.Option(help="where the records go; replaced")] = Path(
        "benchmarks/map.json"
    ),
    page: Annotated[Path, typer.Option(help="where the tables go; replaced")] = Path("docs/map.md"),
) -> None:
    """Run the map; write records, page and figures."""
    numbers = range(FIRST_SEED, FIRST_SEED + seeds)
    at = sorted({place.alignment for place in NETWORK_PLACES})
    tasks = [Task("linear", a, seed) for seed in numbers for a in ALIGNMENTS]
    tasks += [Task("networks", a, seed) for seed in numbers[:network_seeds] for a in at]
    console = Console()
    records = run_map(tasks, jobs, console)
    write_map(records, out)
    write_figures(records, page.parent / "figures")
    write_bytes(map_page(records).encode(), page)
    console.print(f"written: {out}, {page}", markup=False, highlight=False)


def main() -> None:
    """Run the command; an expected error is one line and exit code 2."""
    run_app(app, "benchmarks.map")


if __name__ == "__main__":
    main()
