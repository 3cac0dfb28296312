"""Shards as tasks of a Ray cluster, whose actors hold the model.

Ray places the actors and says which are lost with their process or machine; another one then takes
the shard. Frames come back to the driver, which writes them. So the machines need the repository's
folder at one path and the same packages; results need no shared folder.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sized
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from westofn.errors import DataError, ParameterError, WestofnError
from westofn.execution.account import print_warnings
from westofn.execution.job import Group, Job
from westofn.packages import require_extra
from westofn.runtime import Runtime

Key = TypeVar("Key")

RETRIES = 3
"""How often a shard is tried again whose worker was lost."""
REASON = 200
"""Characters that a message quotes of Ray's reason."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # otherwise Ray reports its use over the network
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # lines of workers and raylets that would be printed here
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # otherwise Ray warns that this default will come
    "RAY_prestart_worker_first_driver": "0",  # processes that no actor would use
}
"""Variables that Ray reads when it is imported; one that is set stays."""
CARRIED = (
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "HF_HUB_DISABLE_PROGRESS_BARS",
    "HF_HUB_DISABLE_TELEMETRY",
    "TRANSFORMERS_VERBOSITY",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS",
    "TOKENIZERS_PARALLELISM",
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "DNNL_MAX_CPU_ISA",
    "NPY_DISABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE",
)
"""Variables that workers have as this process has them, beside WESTOFN_*. Ray logs their values, so
no key may be among them."""


def require_ray() -> None:
    """Refuse the executor `ray` where the package is missing.

    Raises:
        ParameterError: It is.
    """
    require_extra("ray", "executor 'ray'", "set executor to local in runtime.toml")


class Worker:
    """An actor; it loads what the job needs before its first shard."""

    def __init__(self, job: Job[Any], root: Path) -> None:
        self.job, self.root = job, root
        self.loaded: Any = None

    def work(self, items: Sized) -> pl.DataFrame:
        """Return the frame of a shard.

        Raises:
            DataError: The driver's folder is not here.
            WestofnError: What the job raises.
        """
        if self.loaded is None:
            if not self.root.is_dir():
                raise DataError(
                    f"{self.root} is not on machine {socket.gethostname()}; Ray's workers need the "
                    "repository's folder at the same path"
                )
            os.chdir(self.root)
            self.loaded = self.job.load()
        return self.job.work(self.loaded, items)


def on_workers(
    job: Job[Group], groups: Iterable[tuple[Key, Group]], runtime: Runtime, description: str
) -> Generator[tuple[Key, pl.DataFrame], None, None]:
    """Compute groups of items on Ray's workers; yield the frames as they come, with their keys.

    Args:
        job: It is pickled; its work does not depend on other groups.
        groups: Groups with keys; one is taken when a worker is free for it.
        runtime: Says where Ray runs and what a worker gets.
        description: Name of the work, for messages.

    Raises:
        ParameterError: Ray is missing, cannot be reached, or no machine has room for a worker.
        WestofnError: What the job raises, or a shard's worker was lost again and again.
    """
    require_ray()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    with _connected(ray, runtime):
        needs, workers = _planned(ray, runtime)
        actor = ray.remote(Worker).options(
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            runtime_env={"env_vars": needs.environment},
        )
        waiting, losses = iter(groups), Counter[Key]()
        running: dict[Future[pl.DataFrame], tuple[Key, Group, Any]] = {}

        def give(worker: Any, key: Key, group: Group) -> None:
            running[worker.work.remote(group).future()] = key, group, worker

        for key, group in islice(waiting, workers):
            give(actor.remote(job, Path.cwd()), key, group)
        while running:
            # Signals interrupt this wait in Python, which ray.wait does not allow.
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                key, group, worker = running.pop(future)
                if (loss := _loss(ray, future)) is None:
                    if following := next(waiting, None):
                        give(worker, *following)
                    else:
                        ray.kill(worker)  # another one may wait for its place
                    yield key, future.result()
                    continue
                losses[key] += 1
                _tell_loss(description, losses[key], loss)
                ray.kill(worker)
                give(actor.remote(job, Path.cwd()), key, group)


def _loss(ray: Any, future: Future[pl.DataFrame]) -> Exception | None:
    """Return how a task's worker or its result was lost; None if neither was.

    Raises:
        WestofnError: What the job raised.
    """
    error = future.exception()
    if isinstance(error, ray.exceptions.RayTaskError):
        raise (error.cause if isinstance(error.cause, WestofnError) else error) from None
    return error if isinstance(error, ray.exceptions.RayError) else None


def _tell_loss(description: str, count: int, loss: Exception) -> None:
    """Warn of a shard's lost worker.

    Raises:
        WestofnError: It was lost too often.
    """
    if count <= RETRIES:
        print_warnings([f"{description}: a worker was lost; another one takes its shard"])
        return
    reason = " ".join(str(loss).split())[:REASON]
    raise WestofnError(
        f"{description}: the worker was lost {count} times at one shard; most often memory runs "
        "out: start fewer workers a machine (ray_workers in runtime.toml), or read Ray's logs in "
        f"/tmp/ray/session_latest/logs ({type(loss).__name__}: {reason})"
    )


def _require_answer(address: str) -> None:
    """Refuse an address at which nothing listens, for which Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ParameterError(
            f"ray_address is {address!r}, where no Ray cluster answers ({error}); needs HOST:PORT "
            "of one that runs, such as node1:6379, or nothing to start one here"
        ) from None


@contextmanager
def _connected(ray: Any, runtime: Runtime) -> Iterator[None]:
    """Join the cluster, or start one on this machine; it ends with the block or this process.

    Raises:
        ParameterError: No cluster is at the address, it cannot be joined, or none starts here.
    """
    ours = signal.getsignal(signal.SIGTERM)
    place: dict[str, Any] = {"address": runtime.ray_address}
    if runtime.ray_address:
        _require_answer(runtime.ray_address)
    else:
        place = {
            "address": "local",
            "num_cpus": runtime.ray_workers * _cpus(runtime) or None,
            "include_dashboard": False,
        }
    try:
        ray.init(**place, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:  # Ray raises plain ones too
        reason = " ".join(str(error).split())
        raise ParameterError(
            f"Ray cannot start (ray_address is {runtime.ray_address!r}): {reason}; a cluster needs "
            "the versions of Python and Ray that are here, and this user's token"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, ours)  # Ray has set its own
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class _Needs:
    """What a worker gets."""

    cpus: int
    gpus: int

    def room(self, machine: Mapping[str, float]) -> int:
        """Return how many workers a machine with such resources has room for."""
        room = machine.get("CPU", 0) // self.cpus
        return int(min(room, machine.get("GPU", 0) // self.gpus) if self.gpus else room)

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a worker's process."""
        carried = {
            name: value
            for name, value in os.environ.items()
            if name in CARRIED or name.startswith("WESTOFN_")
        }
        device = "cuda" if self.gpus else "cpu"
        return carried | {"WESTOFN_DEVICE": device, "OMP_NUM_THREADS": str(self.cpus)}


def _cpus(runtime: Runtime) -> int:
    return runtime.threads or 1


def _planned(ray: Any, runtime: Runtime) -> tuple[_Needs, int]:
    """Return what a worker gets, and the number of workers.

    Raises:
        ParameterError: No machine has room for one.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    takes_gpu = runtime.device.startswith("cuda") or (
        not runtime.device and any(machine.get("GPU") for machine in machines)
    )
    needs = _Needs(_cpus(runtime), runtime.ray_gpus_per_worker or int(takes_gpu))
    room = sum(map(needs.room, machines))
    if not room:
        raise ParameterError(
            f"no machine of the Ray cluster has the {needs.cpus} CPUs and {needs.gpus} GPUs that a "
            "worker needs; lower threads or ray_gpus_per_worker in runtime.toml, or start Ray with "
            "more"
        )
    return needs, runtime.ray_workers or room
