"""Division of a batch among the processes of torchrun, and gathering of the results."""

from __future__ import annotations

from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import Tensor

__all__ = ["Accelerator", "gather_shares", "share_of"]


def share_of(accelerator: Accelerator, count: int) -> range:
    """Return this process's rows of `count`, a multiple of the number of processes."""
    size = count // accelerator.num_processes
    return range(accelerator.process_index * size, (accelerator.process_index + 1) * size)


def gather_shares(accelerator: Accelerator, share: Tensor) -> Tensor:
    """Concatenate the shares (count / processes, …) of all processes in order, (count, …)."""
    gathered: Tensor = accelerator.gather(share.to(accelerator.device))
    return gathered
