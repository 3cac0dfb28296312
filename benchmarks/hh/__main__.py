"""West-of-N against HF50 and HF100 on Anthropic's HH, with what needs no reward model beside them.

    python -m benchmarks.hh --data PATH --seeds 3 --jobs 2

PATH is a file or folder of human preferences, see README.md, "Your own data". Every task and seed
is a DVC experiment up to the evaluation of round 1; a stopped benchmark goes on where it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from benchmarks.hh.page import human_data_page
from benchmarks.hh.run import check_data, run_benchmark
from benchmarks.hh.settings import TASKS
from westofn.artifacts.atomic import write_bytes
from westofn.command_line import run_app
from westofn.params import load_params

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def benchmark(
    data: Annotated[Path, typer.Option(help="file or folder of human preferences")],
    seeds: Annotated[int, typer.Option(min=1, help="how many")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="100 is for development")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="experiments at a time, a thread each")] = 1,
    task: Annotated[Literal["helpful", "harmless", "both"], typer.Option()] = "both",
    out: Annotated[Path, typer.Option(help="where the records go; replaced")] = Path(
        "benchmarks/hh.json"
    ),
    page: Annotated[Path, typer.Option(help="where the tables go; replaced")] = Path(
        "docs/human-data.md"
    ),
) -> None:
    """Run the pipeline on human preferences; write records and page."""
    tasks = tuple(TASKS) if task == "both" else (task,)
    numbers = range(first_seed, first_seed + seeds)
    check_data(tasks, numbers, data, load_params().prepare.files)
    console = Console()
    runs = run_benchmark(tasks, numbers, data, jobs, out, console)
    write_bytes(human_data_page(runs).encode(), page)
    console.print(f"written: {out}, {page}", markup=False, highlight=False)


def main() -> None:
    """Run the command; an expected error is one line and exit code 2."""
    run_app(app, "benchmarks.hh")


if __name__ == "__main__":
    main()
