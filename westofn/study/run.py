"""`python -m westofn study`: main pipeline and study over several seeds -> study.json."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from itertools import chain
from pathlib import Path

from rich.console import Console

from westofn.artifacts.atomic import write_bytes
from westofn.experiments import Experiment, read_output, run_all
from westofn.report.study_results import Run
from westofn.study.results import collect

ROUNDS = ("k1", "k2", "k3")
MAIN = "dvc.yaml"
STUDY = "study/dvc.yaml"
FIRST = ("base_rm", "eval_pool", f"{STUDY}:study_judge")
"""What all other stages of a seed read."""
GROUPS = {
    "selection": (f"{STUDY}:study_selection", f"{STUDY}:study_teachers"),
    "main": (
        MAIN,
        f"{STUDY}:study_overoptimisation",
        f"{STUDY}:study_iterations",
        f"{STUDY}:study_synthetic_bases",
    ),
    "data": (f"{STUDY}:study_data", f"{STUDY}:study_size"),
    "baselines": (f"{STUDY}:study_baselines",),
}
"""Groups of targets that run side by side, the longest first: two processes share a seed evenly."""


def run_study(
    seeds: Sequence[int], known: Container[str], jobs: int, out: Path, console: Console
) -> list[Run]:
    """Run the seeds side by side, one thread each; what has run before comes from DVC's cache.

    Every seed has its own world, models and test set, and a loop of three rounds. It is several
    experiments in temporary copies of the repository, `first-0`, `selection-0` and so on, each with
    what it wrote. A killed run goes on where it stopped.

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
    experiments = [one for seed in seeds for one in _of_seed({"seed": seed, **rounds})]
    wrote: dict[int, dict[str, str]] = {seed: {} for seed in seeds}
    runs: dict[int, Run] = {}

    def finished(experiment: Experiment, revision: str) -> None:
        console.print(f"{experiment.name} done")
        seed = int(experiment.settings["seed"])
        revisions = wrote[seed]
        revisions |= dict.fromkeys(experiment.targets, revision)
        if not revisions.keys() >= {*chain.from_iterable(GROUPS.values())}:
            return
        runs[seed] = collect(
            lambda path: read_output(revisions[_target_that_writes(path)], path), ROUNDS
        )
        # After every seed: what is measured is not lost with those that fail or are stopped.
        done = sorted(runs)
        write_study(done, [runs[seed] for seed in done], out)
        console.print(f"seed {seed} done, {len(done)} of {len(seeds)}: {out}")

    run_all(experiments, jobs, finished)
    return [runs[seed] for seed in seeds]


def _of_seed(settings: Mapping[str, int | str]) -> list[Experiment]:
    """The experiments of one seed, in the order in which they may start."""
    seed = settings["seed"]
    first = Experiment(f"first-{seed}", settings, FIRST, afresh=True)
    return [
        first,
        *(
            Experiment(f"{group}-{seed}", settings, targets, after=(first.name,), afresh=True)
            for group, targets in GROUPS.items()
        ),
    ]


def _target_that_writes(path: str) -> str:
    """The target that writes a file which `collect` reads."""
    if path == "metrics.json":
        return MAIN
    part = path.removeprefix("data/study/").split("/")[0].removesuffix(".json")
    return f"{STUDY}:study_{part}"


def write_study(seeds: Sequence[int], runs: Sequence[Run], out: Path) -> None:
    """Write study.json: `seeds` and, in their order, `runs`."""
    text = json.dumps({"seeds": list(seeds), "runs": list(runs)}, indent=1, sort_keys=True)
    write_bytes(f"{text}\n".encode(), out)
