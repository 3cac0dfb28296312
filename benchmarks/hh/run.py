"""The pipeline for every task and seed, as DVC experiments -> benchmarks/hh.json."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from benchmarks.hh.records import Run, collect, write_runs
from benchmarks.hh.settings import TARGETS, files_of, settings_of
from westofn.errors import DataError
from westofn.experiments import (
    Experiment,
    ExperimentError,
    read_output,
    remove_experiments,
    run_all,
)
from westofn.params import FilesParams
from westofn.sources.hh import load_hh


def check_data(
    tasks: Sequence[str], seeds: Sequence[int], data: Path, defaults: FilesParams
) -> None:
    """Read and split the preferences as every run will, before the first one starts.

    Args:
        tasks: Names of tasks.
        seeds: Values of `seed`.
        data: File or folder of preferences.
        defaults: Of params.yaml.

    Raises:
        DataError: They are missing, cannot be read, or lack what a task needs.
    """
    if not data.exists():
        raise DataError(
            f"--data: {data}: no such file or folder; give preferences in the form that README.md "
            "describes under “Your own data”"
        )
    for task in tasks:
        for seed in seeds:
            try:
                load_hh(data, files_of(task, defaults), seed)
            except DataError as error:
                raise DataError(f"--task {task}: {error}") from None


def run_benchmark(
    tasks: Sequence[str],
    seeds: Sequence[int],
    data: Path,
    jobs: int,
    out: Path,
    console: Console,
) -> list[Run]:
    """Run every task with every seed; what has run before comes from DVC's cache.

    The experiments are removed when they were read, since metrics.json in them is the last commit's
    and says nothing of them; the cache keeps what they trained.

    Args:
        tasks: Names of tasks.
        seeds: Values of `seed`.
        data: File or folder of preferences.
        jobs: Experiments at a time, a thread each.
        out: Where the records go, after every run.
        console: For progress.

    Returns:
        The runs, task by task, seeds ascending.

    Raises:
        ExperimentError: A stage failed; what other runs finished is written and stays cached.
    """
    # Seed by seed, so that a stopped benchmark has as many seeds of one task as of the other.
    todo = {f"hh-{task}-{seed}": (task, seed) for seed in seeds for task in tasks}
    experiments = [
        Experiment(name, settings_of(task, seed, data.resolve()), TARGETS)
        for name, (task, seed) in todo.items()
    ]
    runs: list[Run] = []

    def finished(experiment: Experiment, revision: str) -> None:
        task, seed = todo[experiment.name]
        runs.append(collect(task, seed, lambda path: read_output(revision, path)))
        runs.sort(key=lambda run: (tasks.index(run.task), run.seed))
        write_runs(runs, out)
        console.print(f"{task}, seed {seed} done, {len(runs)} of {len(todo)}: {out}")

    try:
        run_all(experiments, jobs, finished)
    except BaseException:
        with suppress(ExperimentError):  # what failed first is what is said
            remove_experiments(todo)
        raise
    remove_experiments(todo)
    return runs
