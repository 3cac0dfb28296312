"""`python -m westofn study`: main pipeline and study over several seeds -> study.json."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from pathlib import Path

from rich.console import Console

from westofn.artifacts.atomic import write_bytes
from westofn.experiments import Experiment, read_output, run_all
from westofn.report.study_results import Run
from westofn.study.results import collect

ROUNDS = ("k1", "k2", "k3")


def run_study(
    seeds: Sequence[int], known: Container[str], jobs: int, out: Path, console: Console
) -> list[Run]:
    """Run the seeds side by side, one thread each; what has run before comes from DVC's cache.

    Every seed is an experiment in a temporary copy of the repository, with its own world, models
    and test set, and a loop of three rounds. A killed run goes on where it stopped.

    Args:
        seeds: Values of `seed`.
        known: The rounds that params.yaml has already (`loop`).
        jobs: Experiments at a time.
        out: Where study.json goes.
        console: For progress.

    Raises:
        ExperimentError: A stage failed; what other seeds finished stays cached.
    """
    rounds = {
        f"+loop.{name}" if name not in known else f"loop.{name}": f"{{prev: {before}}}"
        for name, before in zip(ROUNDS, ("k0", *ROUNDS), strict=False)
    }
    experiments = [
        Experiment(f"study-{seed}", {"seed": seed, **rounds}, everything=True) for seed in seeds
    ]
    runs: dict[int, Run] = {}

    def finished(experiment: Experiment, revision: str) -> None:
        seed = int(experiment.settings["seed"])
        runs[seed] = collect(lambda path: read_output(revision, path), ROUNDS)
        # After every seed: what is measured is not lost with those that fail or are stopped.
        done = sorted(runs)
        write_study(done, [runs[seed] for seed in done], out)
        console.print(f"seed {seed} done, {len(done)} of {len(experiments)}: {out}")

    run_all(experiments, jobs, finished)
    return [runs[seed] for seed in seeds]


def write_study(seeds: Sequence[int], runs: Sequence[Run], out: Path) -> None:
    """Write study.json: `seeds` and, in their order, `runs`."""
    text = json.dumps({"seeds": list(seeds), "runs": list(runs)}, indent=1, sort_keys=True)
    write_bytes(f"{text}\n".encode(), out)
