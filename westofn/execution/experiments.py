"""DVC experiments in temporary copies of the repository, and what they wrote.

The workspace stays as it is; uncommitted changes of tracked files are carried along. A stage that
has run before with the same code, parameters and inputs comes from DVC's cache, so running an
experiment again costs seconds, and a failed one goes on where it stopped. Run from the root.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from westofn.errors import WestofnError

DVC: tuple[str, ...] = (sys.executable, "-m", "dvc", "--wait-for-lock")
TAIL_LINES = 20


class ExperimentError(WestofnError):
    """An experiment cannot run, failed, or did not write what is asked of it."""


@dataclass(frozen=True)
class Experiment:
    """What to run.

    Attributes:
        name: Of the experiment, part of a git reference.
        settings: Dotted key of params.yaml -> value.
        targets: The stages to bring up to date, with all that they need; empty means all stages.
        after: Names of experiments that end before this one starts, as it takes their outputs from
            the cache.
        afresh: Without the stages of tracked lock files: one whose command and dependencies are
            those of the lock, but whose outputs are not in the cache, is run by DVC in every
            experiment, as its run cache is not asked then.
    """

    name: str
    settings: Mapping[str, float | str]
    targets: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    afresh: bool = False


def run_experiment(experiment: Experiment, locks: Sequence[str] = ()) -> str:
    """Run an experiment with one thread a process; returns its git revision.

    An earlier experiment of this name on the current commit is replaced.

    Args:
        experiment: What to run.
        locks: Lock files whose stages it starts without.

    Raises:
        ExperimentError: No full clone with a commit here, or a stage failed; the message ends with
            the last lines of output.
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
    what = f"experiment {experiment.name}"
    _dvc(what, "exp", "run", "--temp", "-n", experiment.name, *settings, *experiment.targets)
    if not (revision := _git("for-each-ref", "--format=%(objectname)", reference)):
        raise ExperimentError(f"{what}: dvc ended well but kept no {reference}; rerun")
    return revision


def run_all(
    experiments: Sequence[Experiment],
    jobs: int = 1,
    finished: Callable[[Experiment, str], None] = lambda experiment, revision: None,
) -> None:
    """Run experiments side by side; of those that may start, the first in order does.

    Args:
        experiments: Their names differ; `after` names some of them.
        jobs: How many at a time.
        finished: Called in this thread with every experiment and its revision, as they end.

    Raises:
        ExperimentError: The first failure; those that run meanwhile end, no other starts. Or
            experiments that wait for each other, or for one that is not here.
    """
    waiting = list(experiments)
    running: dict[Future[str], Experiment] = {}
    ended: set[str] = set()
    # Looked at once: DVC rewrites them in the workspace for a moment when an experiment starts.
    locks = _locks() if any(experiment.afresh for experiment in experiments) else []
    with ThreadPoolExecutor(jobs) as pool:
        while waiting or running:
            for experiment in [e for e in waiting if ended.issuperset(e.after)]:
                if len(running) == jobs:
                    break
                waiting.remove(experiment)
                without = locks if experiment.afresh else []
                running[pool.submit(run_experiment, experiment, without)] = experiment
            if not running:
                names = ", ".join(experiment.name for experiment in waiting)
                raise ExperimentError(f"experiments {names} wait for what never ends; mend `after`")
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                experiment = running.pop(future)
                finished(experiment, future.result())
                ended.add(experiment.name)


def _locks() -> list[str]:
    """The lock files that experiments would carry along: tracked, and with stages."""
    tracked = _git("ls-files", "dvc.lock", "*/dvc.lock").splitlines()
    return [
        name
        for name in tracked
        if Path(name).is_file() and "\nstages:" in Path(name).read_text(encoding="utf-8")
    ]


def remove_experiments(names: Iterable[str]) -> None:
    """Remove experiments of the current commit, where there are any; their cache stays."""
    known = [name for name in names if _git("for-each-ref", _reference(name))]
    if known:
        _dvc("removing experiments", "exp", "remove", *known)


def read_output(revision: str, path: str) -> bytes:
    """A file of an experiment, tracked by DVC (also inside a folder) or by git.

    Args:
        revision: As returned by `run_experiment`.
        path: From the root of the repository.

    Raises:
        ExperimentError: There is no such file, or DVC's cache has lost it.
    """
    # DVC has no type hints; it takes a second to import.
    import dvc.api  # type: ignore[import-untyped]
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]

    try:
        content = dvc.api.read(path, rev=revision, mode="rb")
    except (DvcException, OSError) as error:
        raise ExperimentError(
            f"{path} of experiment {revision[:7]} cannot be read ({error}); run it again"
        ) from error
    assert isinstance(content, bytes)
    return content


def _dvc(what: str, *arguments: str) -> None:
    """Run DVC; stages find this interpreter as `python`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        [*DVC, *arguments],
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-TAIL_LINES:])
        raise ExperimentError(
            f"{what}: dvc ended with exit code {done.returncode}; mend what its last lines say and "
            f"run again, what has finished comes from the cache:\n{tail}"
        )


def _reference(name: str) -> str:
    """The git reference under which DVC keeps an experiment of the current commit."""
    head = _git("rev-parse", "--verify", "HEAD")
    return f"refs/exps/{head[:2]}/{head[2:]}/{name}"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise ExperimentError(
            f"experiments need git and a clone with a commit, run from its root: {said.strip()}"
        ) from None
    return done.stdout.strip()
