"""How fast are the hot loops beside the tools that users have, and what memory do they take?

    python -m benchmarks.speed --rounds 5
    python -m benchmarks.speed --rows training

Writes benchmarks/speed.json and the tables of docs/performance.md; rows that are not asked for stay
as they are. Needs `pip install '.[bench]'`, and '.[trl]' for rows beside TRL.
Ours and its peers run in turn, on one thread, and must give equal results.
"""

from __future__ import annotations

import json
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pyarrow as pa  # type: ignore[import-untyped]
import torch
import typer

from benchmarks.speed import exact_pair, memory, pairs, sampling, training
from benchmarks.speed.record import Record, machine, read_record, write_page
from benchmarks.speed.tables import make_shards, make_tables
from westofn.artifacts.atomic import write_bytes
from westofn.commands.run import run_app

RECORD = Path("benchmarks/speed.json")
PAGE = Path("docs/performance.md")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Rows(StrEnum):
    """Groups of rows, in the order in which they are measured."""

    PAIRS = "pairs"
    SAMPLING = "sampling"
    TRAINING = "training"
    MEMORY = "memory"


@app.command()
def main(
    rounds: Annotated[int, typer.Option(min=5, help="of ours and each peer in turn")] = 5,
    prompts: Annotated[int, typer.Option(help="of the tables that are timed")] = 10**4,
    large: Annotated[int, typer.Option(help="prompts of the tables that take memory")] = 10**5,
    candidates: Annotated[int, typer.Option(help="N of a prompt")] = 64,
    out: Annotated[Path, typer.Option(help="where the figures go; replaced")] = RECORD,
    page: Annotated[Path, typer.Option(help="page whose tables are replaced")] = PAGE,
    rows: Annotated[list[Rows], typer.Option(help="groups to measure; none: all")] = [],  # noqa: B006
) -> None:
    """Measure rows; write the figures and the page."""
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    asked = rows or list(Rows)
    record = read_record(out, rounds) if rows and out.exists() else Record(rounds, machine())
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        small, big = Path(name) / "small", Path(name) / "big"
        if Rows.PAIRS in asked:
            make_tables(small, prompts, candidates)
            record.add(*pairs.measure(small, rounds), *exact_pair.measure(candidates, rounds))
        if Rows.SAMPLING in asked:
            record.add(*sampling.measure(rounds))
        if Rows.TRAINING in asked:
            record.add(*training.measure(rounds))
        if Rows.MEMORY in asked:
            make_tables(big, large, candidates)
            make_shards(big)
            record.remember(memory.measure(big))
    write_bytes((json.dumps(record.as_json(), indent=1) + "\n").encode(), out)
    write_page(record, page)


if __name__ == "__main__":
    run_app(app, "benchmarks.speed")
