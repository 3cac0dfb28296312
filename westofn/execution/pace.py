"""When a training run saves a checkpoint between its evaluations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from westofn.execution.processes import agreed
from westofn.runtime import Runtime

MINUTES = 5
"""`checkpoint_minutes` where runtime.toml does not set it."""
WRITING_SHARE = 20
"""Between two checkpoints lies so many times what writing one takes, so that it costs 5 %."""

clock = time.monotonic


class Pace:
    """Says when the last checkpoint is too long ago.

    Args:
        runtime: Its `checkpoint_minutes`.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.seconds = 60.0 * (runtime.checkpoint_minutes or MINUTES)
        self.last, self.cost = clock(), 0.0

    def is_due(self) -> bool:
        """Return whether to save now; all processes get the answer of the first one."""
        return agreed(clock() - self.last >= max(self.seconds, WRITING_SHARE * self.cost))

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Note that the block writes a checkpoint."""
        started = clock()
        yield
        self.last = clock()
        self.cost = self.last - started
