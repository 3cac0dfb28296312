"""Start the processes that share the training of one stage, by torch's elastic launcher.

`processes` and `nodes` of runtime.toml say how many. A stage that was started by torchrun, or by
this module, is one of them and starts no others. For several machines `launcher` is a command of
their scheduler, such as `srun`, that starts the stage once on each of them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

from westofn.errors import ParameterError
from westofn.execution.interrupts import EXIT_CODES
from westofn.runtime import Runtime

ONE_MACHINE = "localhost:0"
"""Rendezvous of processes that are all on this machine; 0 is any free port."""
FAILED = 1
"""Exit code of a process that ended without one."""


STARTED = "WESTOFN_STARTED_BY_LAUNCHER"
"""Variable of the stages that `launcher` started."""


def number_of_processes(runtime: Runtime) -> int:
    """Return how many processes train together on this machine, as the runtime says.

    Raises:
        ParameterError: There are several machines and no address at which they meet, or their
            launcher is no program.
    """
    if runtime.nodes > 1 and not runtime.rendezvous:
        raise ParameterError(
            f"nodes is {runtime.nodes}, and rendezvous is not set; set it to HOST:PORT of one of "
            "them in runtime.toml, such as node1:29500"
        )
    if runtime.launcher and not shutil.which(program := _words(runtime.launcher)[0]):
        raise ParameterError(
            f"launcher: {program} is not on this machine; change it in runtime.toml, or remove it "
            "and start the stage on every machine"
        )
    return max(1, runtime.processes)


def _words(launcher: str) -> list[str]:
    with contextlib.suppress(ValueError):  # a quote is not closed
        if words := shlex.split(launcher):
            return words
    raise ParameterError(f"launcher is {launcher!r}, needs a command such as srun -q")


def launch(module: str, arguments: Sequence[str], runtime: Runtime) -> int:
    """Run a module in several processes and return the exit code of the first one that failed.

    Each process prints its own errors; the launcher prints nothing.

    Args:
        module: Name of the module, as for `python -m`.
        arguments: Its arguments.
        runtime: Its `processes`, `nodes`, `rendezvous` and `launcher`.
    """
    if runtime.nodes > 1 and runtime.launcher and STARTED not in os.environ:
        return _run_on_every_node([sys.executable, "-m", module, *arguments], runtime.launcher)
    processes = number_of_processes(runtime)
    os.environ.setdefault("OMP_NUM_THREADS", str(runtime.threads or 1))  # of each process

    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    nodes = max(1, runtime.nodes)
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        run_id=module,
        rdzv_backend="c10d",
        rdzv_endpoint=runtime.rendezvous if nodes > 1 else ONE_MACHINE,
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(),
    )
    try:
        elastic_launch(config, sys.executable)("-m", module, *arguments)
    except ChildFailedError as error:
        code: int = error.get_first_failure()[1].exitcode
        return code if code > 0 else 128 - code if code < 0 else FAILED
    except SignalException as error:
        return EXIT_CODES.get(error.sigval, FAILED)
    return 0


def _run_on_every_node(command: Sequence[str], launcher: str) -> int:
    """Let the launcher start the command on every machine; return the launcher's exit code."""
    environment = os.environ | {STARTED: "1"}
    whole = [*_words(launcher), *command]
    with (
        subprocess.Popen(
            whole, env=environment, stdin=subprocess.DEVNULL, process_group=0
        ) as process,
        _passing_signals_on(process) as received,
    ):
        code = process.wait()
    if received:
        return EXIT_CODES[received[0]]
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _passing_signals_on(process: subprocess.Popen[bytes]) -> Iterator[list[signal.Signals]]:
    """Pass the signals that end a command on to a process; yields those that have come."""
    received: list[signal.Signals] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        received.append(signal.Signals(number))
        process.send_signal(number)

    earlier = {number: signal.signal(number, pass_on) for number in EXIT_CODES}
    try:
        yield received
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
