"""West-of-N on real human preferences, against twice the labels and what needs no reward model.

    python -m benchmarks.human --data DIR --seeds 5 --jobs 2

DIR holds the folders e2e-ratings, ukp-convarg and hh-rlhf-8k, see docs/human-data.md. What was
finished with the same settings and data is read, so a stopped benchmark goes on where it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.human.page import human_data_page
from benchmarks.human.run import Benchmark, run_benchmark
from benchmarks.human.settings import check_data, tasks_of
from westofn.artifacts.atomic import write_bytes
from westofn.commands.run import run_app
from westofn.params.whole import load_params

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def benchmark(
    data: Annotated[Path, typer.Option(help="folder that holds the tasks' folders")],
    task: Annotated[
        str,
        typer.Option(help="all, pretrained (needs `make models`), or names with commas between"),
    ] = "all",
    seeds: Annotated[int, typer.Option(min=1, help="how many")] = 5,
    first_seed: Annotated[int, typer.Option(min=0, help="100 is for development")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="processes at a time, a thread each")] = 1,
    folder: Annotated[Path, typer.Option(help="where policies, features and runs stay")] = Path(
        "runs/human"
    ),
    out: Annotated[
        Path, typer.Option(help="file of the records; what it has of the same settings stays")
    ] = Path("benchmarks/human.json"),
    page: Annotated[Path, typer.Option(help="where the tables go; replaced")] = Path(
        "docs/human-data.md"
    ),
) -> None:
    """Measure all arms on human preferences; write records and page."""
    tasks = tasks_of(task)
    check_data(tasks, data)
    console = Console()
    runs = run_benchmark(
        Benchmark(load_params(), data.resolve(), folder.resolve()),
        tasks,
        range(first_seed, first_seed + seeds),
        jobs,
        out,
        console,
    )
    write_bytes(human_data_page(runs).encode(), page)
    console.print(f"written: {out}, {page}", markup=False, highlight=False)


def main() -> None:
    """Run the command; an expected error is one line and exit code 2."""
    run_app(app, "benchmarks.human")


if __name__ == "__main__":
    main()
