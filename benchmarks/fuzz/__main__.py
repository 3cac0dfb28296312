"""Random and mutated inputs for every reader: does any end in something else than one line?

    python -m benchmarks.fuzz --cases 1000000 --seed 0

Writes benchmarks/fuzz.json and the table of docs/reliability.md. Every reader has a process of its
own, so that one that dies or hangs is a fault of the case that it had. Exits with 1 if there is
any fault. `--reader NAME --case N` runs one case in this process and shows its input and traceback.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.fuzz.cases import Cases, Reader
from benchmarks.fuzz.process import memory_folder, run_reader, work
from benchmarks.fuzz.readers import READERS, shares
from benchmarks.fuzz.record import Record, write_page
from westofn.artifacts.atomic import write_bytes

RECORD = Path("benchmarks/fuzz.json")
PAGE = Path("docs/reliability.md")


def main(
    cases: Annotated[int, typer.Option(min=1, help="cases, divided among the readers")] = 10**6,
    seed: Annotated[int, typer.Option(help="which inputs are drawn")] = 0,
    reader: Annotated[str, typer.Option(help="name of a reader; empty: all")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="readers at a time")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="keep the readers that a run which was killed finished")
    ] = False,
    case: Annotated[int, typer.Option(help="run this case of the reader alone")] = -1,
    out: Annotated[Path, typer.Option(help="where the counts go; replaced")] = RECORD,
    page: Annotated[Path, typer.Option(help="page whose table is replaced")] = PAGE,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Feed every reader; write the counts and the table."""
    chosen = [each for each in READERS if reader in ("", each.name)]
    if not chosen:
        raise typer.BadParameter(f"{reader} is none of {', '.join(one.name for one in READERS)}")
    if worker:
        return work(chosen[0], json.loads(worker), out)
    if case >= 0:
        return show_case(chosen[0], seed, case)
    sizes = shares(cases, tuple(chosen))
    record = Record.kept(out, seed, sizes) if resume else Record(seed)
    left = [each for each in chosen if each not in record.tallies]
    with ThreadPoolExecutor(jobs) as pool:
        tallies = pool.map(lambda each: run_reader(each, sizes[each.name], seed), left)
        for each, tally in zip(left, tallies, strict=True):
            record.add(each, tally)
            counts = ", ".join(f"{count} {end}" for end, count in sorted(tally.counts.items()))
            print(f"{each.name}: {counts}, {tally.seconds:.0f} s", flush=True)
            if not reader:
                write_bytes(record.as_json().encode(), out)
    print(*record.faults, sep="\n")
    print(f"{record.tried} cases, {len(record.faults)} kinds of faults")
    if not reader:
        write_page(record, page)
    sys.exit(1 if record.faults else 0)


def show_case(reader: Reader, seed: int, case: int) -> None:
    """Print the input of a case, and let the reader read it."""
    with memory_folder() as name:
        cases = Cases(reader, Path(name), seed)
        content = cases.content(case)
        print(content[:2000])
        print(cases.target.read(content))


if __name__ == "__main__":
    typer.run(main)
