"""How the processes that torchrun started divide a batch and put it together again."""

from __future__ import annotations

from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import Tensor

__all__ = ["Accelerator", "everyones", "share_of"]


def share_of(accelerator: Accelerator, count: int) -> range:
    """The rows of this process among `count`, which is a multiple of the number of processes."""
    size = count // accelerator.num_processes
    return range(accelerator.process_index * size, (accelerator.process_index + 1) * size)


def everyones(accelerator: Accelerator, own: Tensor) -> Tensor:
    """The shares of all processes (count / processes, …) as one (count, …), in order."""
    whole: Tensor = accelerator.gather(own.to(accelerator.device))
    return whole
