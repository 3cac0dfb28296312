"""The processes that torchrun started for one stage.

Each process runs the whole stage, and the trainer divides the batches among them. Only the first
process locks and writes files.
"""

from __future__ import annotations

import os


def count() -> int:
    """Return the number of processes; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Return whether this process writes files; True without torchrun."""
    return os.environ.get("RANK", "0") == "0"


def leave_group() -> None:
    """Wait for all processes and leave the process group, if training created one."""
    if count() == 1:
        return
    from torch import distributed

    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
