"""Retry work in halves when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that host or device memory ran out."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )


def in_halves(
    items: Sequence[Item], work: Callable[[Sequence[Item]], list[Result]]
) -> list[Result]:
    """Run `work` on all items; if memory runs out, run it on each half, recursively.

    The results equal those of one call if `work` treats its items independently.

    Raises:
        Exception: `work` raised it on a single item, or it was not an out-of-memory error.
    """
    try:
        return work(items)
    except Exception as error:
        if not is_out_of_memory(error) or len(items) < 2:
            raise
    middle = len(items) // 2
    return in_halves(items[:middle], work) + in_halves(items[middle:], work)
