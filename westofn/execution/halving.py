"""Out of memory: do the same work in halves, so that nothing changes but the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that host or device memory ran out."""
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
    """`work` on all items; when memory runs out, on each half, and so on down to one item.

    The results are those of one call as long as `work` treats its items one by one.

    Raises:
        Exception: What `work` raises on a single item.
    """
    try:
        return work(items)
    except Exception as error:
        if not is_out_of_memory(error) or len(items) < 2:
            raise
    middle = len(items) // 2
    return in_halves(items[:middle], work) + in_halves(items[middle:], work)
