"""Run DVC experiments in temporary copies of the repository and read their outputs.

The workspace is unchanged; uncommitted changes of tracked files are included. A stage that has run
before with the same code, parameters and inputs is restored from DVC's cache, so repeating an
experiment takes seconds and a failed experiment resumes. Run from the root of the repository.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from westofn.errors import WestofnError
from westofn.execution.children import run_group
from westofn.execution.graph import DeadlockError, run_graph
from westofn.execution.interrupts import keeping

DVC: tuple[str, ...] = (sys.executable, "-m", "dvc", "--wait-for-lock")
TAIL_LINES = 20
KEPT = "finished stages stay in DVC's cache, run it again to go on"


class ExperimentError(WestofnError):
    """An experiment cannot run, failed, or did not write a requested output.

    Attributes:
        output: Lines of DVC that follow the message.
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output

    def __str__(self) -> str:
        return f"{super().__str__()}:\n{self.output}" if self.output else super().__str__()


@dataclass(frozen=True)
class Experiment:
    """Definition of an experiment.

    Attributes:
        name: Name of the experiment; part of a git reference.
        settings: Dotted key of params.yaml -> value; other files as `FILE:KEY`.
        targets: Stages to reproduce, with their dependencies; empty: all stages.
        after: Names of experiments that must end before this one starts, because it uses their
            outputs from the cache.
        afresh: Whether to remove the stages from tracked lock files. If a stage matches the lock
            but its outputs are not in the cache, DVC ignores its run cache and runs the stage in
            every experiment; without the lock it uses the run cache.
    """

    name: str
    settings: Mapping[str, float | str]
    targets: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    afresh: bool = False


def run_experiment(
    experiment: Experiment, locks: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> str:
    """Run an experiment with one thread per process; return its git revision.

    An earlier experiment with this name on the current commit is replaced.

    Args:
        experiment: Experiment to run.
        locks: Lock files whose stages are removed in the experiment.
        variables: Environment variables of its stages, beside those of this process.

    Raises:
        ExperimentError: The folder is no full clone with a commit, or a stage failed; the message
            ends with the last lines of output.
    """
    if _git("rev-parse", "--is-shallow-repository") == "true":
        raise ExperimentError(
            "this is a shallow clone, in which DVC loses experiments: run `git fetch --unshallow`"
        )
    reference = _reference(experiment.name)
    remove_experiments([experiment.name])
    changes = [f"{key}={value}" for key, value in experiment.settings.items()]
    changes += [f"{lock}:~stages" for lock in locks]
    settings = [part for change in changes for part in ("-S", change)]
    title = f"experiment {experiment.name}"
    command = ["exp", "run", "--temp", "-n", experiment.name, *settings, *experiment.targets]
    _dvc(title, command, variables)
    if not (revision := _git("for-each-ref", "--format=%(objectname)", reference)):
        raise ExperimentError(f"{title}: dvc succeeded but wrote no {reference}; rerun")
    return revision


def run_all(
    experiments: Sequence[Experiment],
    jobs: int = 1,
    finished: Callable[[Experiment, str], None] = lambda experiment, revision: None,
) -> None:
    """Run experiments in parallel; among those that can start, the first in order starts.

    Args:
        experiments: Experiments with distinct names; `after` refers to these names.
        jobs: Number of experiments at a time.
        finished: Callback, called in this thread with each experiment and its revision when it
            ends.

    Raises:
        ExperimentError: An experiment failed (running experiments end, no other starts), or
            experiments wait for each other or for an unknown one.
    """
    by_name = {experiment.name: experiment for experiment in experiments}
    # Listed once, because DVC briefly rewrites them in the workspace when an experiment starts.
    locks = _locks() if any(experiment.afresh for experiment in experiments) else []

    def run(name: str) -> str:
        return run_experiment(by_name[name], locks if by_name[name].afresh else [])

    with keeping(KEPT):
        try:
            run_graph(
                {experiment.name: experiment.after for experiment in experiments},
                jobs,
                run,
                lambda name, revision: finished(by_name[name], revision),
            )
        except DeadlockError as error:
            raise ExperimentError(f"experiments {error}; mend `after`") from None


def _locks() -> list[str]:
    """List the lock files that experiments would include: tracked files with stages."""
    tracked = _git("ls-files", "dvc.lock", "*/dvc.lock").splitlines()
    return [
        name
        for name in tracked
        if Path(name).is_file() and "\nstages:" in Path(name).read_text(encoding="utf-8")
    ]


def remove_experiments(names: Iterable[str]) -> None:
    """Remove experiments of the current commit if they exist; the cache is unchanged."""
    known = [name for name in names if _git("for-each-ref", _reference(name))]
    if known:
        _dvc("removing experiments", ["exp", "remove", *known])


def shown_experiments(*, all_commits: bool = False) -> list[dict[str, Any]]:
    """Return what `dvc exp show --json` prints of the commit, or of all commits.

    Raises:
        ExperimentError: DVC refuses; the message has its last line.
    """
    shown: list[dict[str, Any]] = dvc_json(
        "exp", "show", *(["--all-commits"] if all_commits else [])
    )
    return shown


def dvc_json(*arguments: str) -> Any:
    """Return what a DVC command prints with `--json`.

    Raises:
        ExperimentError: DVC refuses; the message has its last line.
    """
    command = [*DVC, *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = [*done.stderr.strip().splitlines(), "no message"][-1]
        named = " ".join(part for part in arguments if not part.startswith("-"))
        raise ExperimentError(f"dvc {named}: {last}; run it from the root of a clone")
    return json.loads(done.stdout)


def environment() -> dict[str, str]:
    """Return the environment in which `python` of a stage is this interpreter."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return os.environ | {"PATH": path}


def read_output(revision: str, path: str) -> bytes:
    """Read a file of an experiment that DVC (also inside a folder) or git tracks.

    Args:
        revision: Git revision from `run_experiment`.
        path: Path relative to the root of the repository.

    Raises:
        ExperimentError: The file does not exist, or it is no longer in DVC's cache.
    """
    # Imported here because the import takes a second.
    import dvc.api  # type: ignore[import-untyped]
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]

    try:
        content = dvc.api.read(path, rev=revision, mode="rb")
    except (DvcException, OSError) as error:
        raise ExperimentError(
            f"{path} of experiment {revision[:7]} cannot be read ({error}); rerun the experiment"
        ) from error
    assert isinstance(content, bytes)
    return content


def _dvc(title: str, arguments: Sequence[str], variables: Mapping[str, str] | None = None) -> None:
    """Run DVC with one thread a process."""
    every = environment() | {"OMP_NUM_THREADS": "1"} | dict(variables or {})
    done = run_group([*DVC, *arguments], every)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-TAIL_LINES:])
        raise ExperimentError(
            f"{title}: dvc ended with exit code {done.returncode}; mend the error in its last "
            "lines and rerun, finished stages come from the cache",
            tail,
        )


def _reference(name: str) -> str:
    """Return the git reference of an experiment of the current commit."""
    head = _git("rev-parse", "--verify", "HEAD")
    return f"refs/exps/{head[:2]}/{head[2:]}/{name}"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, encoding="utf-8", errors="replace", check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        message = getattr(error, "stderr", "") or str(error)
        raise ExperimentError(
            f"experiments need git and a clone with a commit, run from its root: {message.strip()}"
        ) from None
    return done.stdout.strip()
