"""A grid of settings as DVC experiments, several at a time, each on a device of its own.

DVC's own queue runs a grid too (`dvc exp run --queue`), but its workers share the devices, and it
shows neither progress nor the comparison. The experiments are the same.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from queue import SimpleQueue

from westofn.errors import ParameterError, WestofnError
from westofn.execution.experiments import KEPT, Experiment, ExperimentError, run_experiment
from westofn.execution.graph import run_graph
from westofn.execution.interrupts import keeping
from westofn.params.file import PARAMS_FILE
from westofn.progress import working

PREFIX = "sweep"
MOST_OF_NAME = 120
"""Characters of a member's name; a longer one is refused, since a git reference is a file."""


class SweepError(WestofnError):
    """A member of the grid failed."""


@dataclass(frozen=True)
class Outcome:
    """How a member ended.

    Attributes:
        name: The experiment's name.
        seconds: How long it took.
        error: What ended it; None if it succeeded.
    """

    name: str
    seconds: float
    error: ExperimentError | None = None


def members(settings: Sequence[str], targets: Sequence[str] = ()) -> list[Experiment]:
    """Return the experiments of a grid, the last setting varying fastest.

    Args:
        settings: `KEY=VALUE,VALUE…` in Hydra's grammar, as `dvc exp run --queue -S` takes it:
            also `KEY=range(1,4)` and `+KEY=…` for a key that params.yaml lacks.
        targets: Stages to run with what they need; empty: all.

    Raises:
        ParameterError: A setting cannot be read, two members are equal, or a name is too long.
    """
    # Imported here because the import takes a second.
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.utils.hydra import get_hydra_sweeps  # type: ignore[import-untyped]
    from hydra.errors import HydraException

    try:
        grid = get_hydra_sweeps({str(PARAMS_FILE): list(settings)})
    except (DvcException, HydraException) as error:
        first = str(error).splitlines()[0]
        raise ParameterError(
            f"-S: {first}; write KEY=VALUE,VALUE, such as filter.quantile=0,0.5"
        ) from None
    overrides = [point[str(PARAMS_FILE)] for point in grid]
    varied = _varied(overrides)
    experiments = [
        Experiment(_name(point, varied), dict(_split(part) for part in point), tuple(targets))
        for point in overrides
    ]
    names = [experiment.name for experiment in experiments]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ParameterError(f"-S: two members are {repeated[0]}; give each value once")
    if too_long := [name for name in names if len(name) > MOST_OF_NAME]:
        raise ParameterError(
            f"-S: the name {too_long[0][:40]}… of a member has {len(too_long[0])} characters, at "
            f"most {MOST_OF_NAME}; vary fewer settings, and set the others in params.yaml"
        )
    return experiments


def parse_devices(text: str) -> list[str]:
    """Return the devices of a list such as `0,1`.

    Raises:
        ParameterError: A device is empty or given twice.
    """
    devices = [part.strip() for part in text.split(",")] if text else []
    if "" in devices or len(set(devices)) < len(devices):
        raise ParameterError(f"--devices: {text!r} needs distinct devices such as 0,1")
    return devices


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key, value


def _varied(overrides: Sequence[Sequence[str]]) -> list[int]:
    """Return the positions of settings that have several values; all, if none has."""
    positions = range(len(overrides[0]))
    varied = [at for at in positions if len({point[at] for point in overrides}) > 1]
    return varied or list(positions)


def _name(point: Sequence[str], varied: Sequence[int]) -> str:
    """Return a name that is a git reference: `sweep_filter.quantile-0.5_seed-1`."""
    parts = [point[at].lstrip("+").replace("=", "-", 1) for at in varied]
    safe = [re.sub(r"(\.\.|[^A-Za-z0-9.+-])+", "~", part).strip(".~") for part in parts]
    return "_".join([PREFIX, *safe]).replace("~", "_").removesuffix(".lock")


def run_members(
    experiments: Sequence[Experiment],
    *,
    jobs: int,
    devices: Sequence[str] = (),
    together: bool = True,
    ended: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run all members; one that fails leaves the others running.

    Args:
        experiments: The members.
        jobs: Members at a time.
        devices: Values of CUDA_VISIBLE_DEVICES, one for each member that runs at a time; empty:
            the variable stays as it is.
        together: Whether all may start at once. Otherwise the first one runs alone, and the others
            take what they share with it from DVC's cache.
        ended: Called with each outcome when its member ends.

    Returns:
        The outcomes in the order of the members.
    """
    by_name = {experiment.name: experiment for experiment in experiments}
    free: SimpleQueue[str] = SimpleQueue()
    for name in devices:
        free.put(name)

    def run(name: str) -> Outcome:
        started, failure = time.monotonic(), None
        device: AbstractContextManager[dict[str, str]]
        device = _taken(free) if devices else nullcontext({})
        with device as variables:
            try:
                run_experiment(by_name[name], variables=variables)
            except ExperimentError as error:
                failure = error
        return Outcome(name, time.monotonic() - started, failure)

    first = experiments[0].name
    graph: dict[str, Collection[str]] = {
        name: () if together or name == first else (first,) for name in by_name
    }
    outcomes: dict[str, Outcome] = {}
    with keeping(KEPT), working("sweep", len(experiments), "members") as progress:

        def finished(name: str, outcome: Outcome) -> None:
            outcomes[name] = outcome
            progress.advance()
            ended(outcome)

        run_graph(graph, jobs, run, finished)
    return [outcomes[name] for name in by_name]


@contextmanager
def _taken(free: SimpleQueue[str]) -> Iterator[dict[str, str]]:
    """Take a free device for the block; yields the variable that names it."""
    device = free.get()
    try:
        yield {"CUDA_VISIBLE_DEVICES": device}
    finally:
        free.put(device)


def check_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Raise one error for all members that failed.

    Raises:
        SweepError: At least one failed; the message names them and how to go on.
    """
    if failed := [outcome.name for outcome in outcomes if outcome.error]:
        raise SweepError(
            f"{len(failed)} of {len(outcomes)} members failed: {', '.join(failed)}; mend what "
            "their lines say and run the same sweep again, finished stages come from the cache"
        )
