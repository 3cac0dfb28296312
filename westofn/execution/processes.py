"""The processes that torchrun started for one stage.

Each process runs the whole stage, and the trainer divides the batches among them. Only the first
process locks and writes files.
"""

from __future__ import annotations

import os

from westofn.errors import ParameterError
from westofn.runtime import Runtime

MOST = 4096
START = "start the stage with torchrun, or unset WORLD_SIZE, RANK and LOCAL_RANK"


def check_environment() -> None:
    """Check the variables that torchrun sets; those of a single process are removed.

    A scheduler may set RANK alone, for which libraries would wait for other processes.

    Raises:
        ParameterError: WORLD_SIZE, RANK or LOCAL_RANK is not a number that torchrun would set.
    """
    if _size() == "1":
        for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
            os.environ.pop(name, None)
        return
    processes = _number("WORLD_SIZE", 1, MOST)
    _number("RANK", 0, processes - 1)
    _number("LOCAL_RANK", 0, processes - 1)


def _number(name: str, low: int, high: int) -> int:
    text = os.environ.get(name, "")
    if text.isascii() and text.isdigit() and low <= int(text) <= high:
        return int(text)
    state = repr(text) if text else "not set"
    raise ParameterError(f"{name} is {state}, needs a whole number from {low} to {high}; {START}")


def count() -> int:
    """Return the number of processes; 1 without torchrun."""
    return int(_size())


def shards(runtime: Runtime) -> bool:
    """Return whether each process trains with a part of every weight."""
    return runtime.strategy == "fsdp" and count() > 1


def is_first() -> bool:
    """Return whether this process writes files; True without torchrun."""
    return _size() == "1" or os.environ.get("RANK") == "0"


def agreed(answer: bool) -> bool:
    """Return the first process's answer, in every process that training has joined."""
    if count() == 1:
        return answer
    import torch
    from torch import distributed

    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    flag = torch.tensor([int(answer)], device=device)
    distributed.broadcast(flag, 0)
    return bool(flag.item())


def _size() -> str:
    return os.environ.get("WORLD_SIZE") or "1"


def leave_group() -> None:
    """Wait for all processes and leave the process group, if training created one."""
    if count() == 1:
        return
    from torch import distributed

    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
