"""Time of sampling in this process and over Ray's workers, beside what the simulation predicts.

    python -m benchmarks.ray_workers

Every run samples the same prompts with the same untrained policy, so its shards must have the same
bytes. The prediction knows one worker on a quarter of the prompts: its seconds until its first
shard, and those of each further one. Needs the extra `ray` and two cores without other work.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from benchmarks.scaling.simulate import Fleet, run_queue
from benchmarks.speed.models import SIZES, case_of
from westofn.generation.sample_pools import PROMPTS_A_SHARD, Draw, sample_pool
from westofn.models.policy import SavedPolicy, save_policy

WORKERS = (0, 1, 2)
"""Ray's workers of each run; 0 is this process."""
KNOWN_SHARE = 4
"""The prediction knows one part of so many."""


@dataclass(frozen=True)
class Timed:
    """What a run took.

    Attributes:
        whole: Seconds of the whole run.
        first: Seconds until the first shard was written.
        further: Mean seconds of each further shard.
    """

    whole: float
    first: float
    further: float


def main(
    prompts: Annotated[int, typer.Option(min=2, help="number of prompts")] = 1024,
    candidates: Annotated[int, typer.Option(min=2, help="candidates of each")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="runs of each kind; medians count")] = 3,
) -> None:
    """Print a row for every number of workers."""
    step = KNOWN_SHARE * PROMPTS_A_SHARD
    if prompts < 2 * step or prompts % step:
        raise typer.BadParameter(f"--prompts {prompts}: needs a multiple of {step}, at least two")
    case = case_of("T5, embedded", "encoder_decoder", replace(SIZES[0], prompts=prompts))
    frame = pl.DataFrame({"prompt_id": case.ids, "prompt": case.prompts})
    draw = Draw(candidates, temperature=0.7, seed=0)
    with tempfile.TemporaryDirectory() as home:
        canaries = [(text, pool[0]) for text, pool in zip(case.prompts, case.pools, strict=True)]
        save_policy(case.policy, Path(home) / "policy", canaries[:4], {})
        policy = SavedPolicy.of(Path(home) / "policy")
        known: list[Timed] = []
        runs: dict[int, list[Timed]] = {workers: [] for workers in WORKERS}
        digests = set()
        for number in range(rounds):
            part = frame.sort("prompt_id").head(prompts // KNOWN_SHARE)
            known.append(_timed(policy, part, draw, Path(home) / f"known-{number}", 1))
            for workers in WORKERS:
                folder = Path(home) / f"shards-{number}-{workers}"
                runs[workers].append(_timed(policy, frame, draw, folder, workers))
                digests.add(_digest(folder))
    if len(digests) > 1:
        raise AssertionError("the runs wrote different shards")
    shards = prompts // PROMPTS_A_SHARD
    typer.echo("| workers | whole run, s | a further shard, s | predicted, s |")
    typer.echo("|---|---:|---:|---:|")
    for workers, timed in runs.items():
        name = f"{workers} of Ray" if workers else "this process"
        whole, further = (_median(timed, key) for key in ("whole", "further"))
        foreseen = f"{predicted(known, shards, workers):.1f}" if workers else "–"
        typer.echo(f"| {name} | {whole:.1f} | {further:.2f} | {foreseen} |")


def predicted(known: list[Timed], shards: int, workers: int) -> float:
    """Return the seconds that the simulation gives a run of equal shards."""
    further = _median(known, "further")
    start = _median(known, "first") - further
    last = _median(known, "first") + further * (shards // KNOWN_SHARE - 1)
    end = _median(known, "whole") - last
    fleet = Fleet(workers, start_seconds=start, restart_seconds=start)
    return run_queue([further] * shards, fleet, 0).seconds + end


def _median(runs: list[Timed], key: str) -> float:
    return float(statistics.median(getattr(run, key) for run in runs))


def _timed(
    policy: SavedPolicy, prompts: pl.DataFrame, draw: Draw, folder: Path, workers: int
) -> Timed:
    os.environ["WESTOFN_EXECUTOR"] = "ray" if workers else "local"
    os.environ["WESTOFN_RAY_WORKERS"] = str(workers)
    started, clock = time.time(), time.perf_counter()
    sample_pool(policy, prompts, draw, folder, f"{workers} workers")
    whole = time.perf_counter() - clock
    written = sorted(path.stat().st_mtime for path in folder.iterdir())
    further = (written[-1] - written[0]) / (len(written) - 1)
    return Timed(whole, written[0] - started, further)


def _digest(folder: Path) -> str:
    content = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    return sha256(content).hexdigest()


if __name__ == "__main__":
    typer.run(main)
