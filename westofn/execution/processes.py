"""The processes that torchrun started for one stage on this machine.

Each runs the whole stage, and the trainer divides the batches among them. The first alone locks,
writes and notes; the others compute what it computes.
"""

from __future__ import annotations

import os


def count() -> int:
    """How many there are; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this one writes; True without torchrun."""
    return os.environ.get("RANK", "0") == "0"


def part() -> None:
    """Wait until all have come here, and leave the group, if training has made one."""
    if count() == 1:
        return
    from torch import distributed

    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
