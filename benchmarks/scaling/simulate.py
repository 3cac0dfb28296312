"""Workers that take shards from one queue: loads, stragglers and faults, event by event."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Fleet:
    """Workers and what starts them.

    Attributes:
        workers: Number of workers.
        start_seconds: Seconds from the start to a worker's first shard, all starting together.
        restart_seconds: Seconds of a worker that starts alone, after a fault.
        seconds_between_faults: Mean seconds of a worker between two faults; `inf`: none.
        speed_spread: Standard deviation of the logarithm of a worker's speed.
        seconds_per_shard: Seconds to hand out a shard and to write it.
    """

    workers: int
    start_seconds: float
    restart_seconds: float
    seconds_between_faults: float = float("inf")
    speed_spread: float = 0.0
    seconds_per_shard: float = 0.0


@dataclass(frozen=True)
class Run:
    """What a run took.

    Attributes:
        seconds: Seconds until the last shard is finished.
        working: Seconds of all workers on shards that they finished.
        lost: Seconds of all workers on shards that a fault ended, and their restarts.
        faults: Number of faults.
    """

    seconds: float
    working: float
    lost: float
    faults: int

    def efficiency(self, workers: int) -> float:
        """Share of the workers' time in which they worked on shards that they finished."""
        return self.working / (self.seconds * workers)


def run_queue(shards: Seconds | Sequence[float], fleet: Fleet, seed: int) -> Run:
    """Let workers take shards in order until all are finished.

    A shard that a fault ends goes back to the queue's end, and its worker starts anew. A worker
    that finds an empty queue while others work waits for what comes back.

    Args:
        shards: (shards,) seconds that each takes on a worker of speed 1.
        fleet: The workers.
        seed: Decides speeds and faults.

    Returns:
        What the run took.
    """
    random = np.random.default_rng(seed)
    speeds = np.exp(random.normal(0, fleet.speed_spread, fleet.workers))
    queue = deque(float(seconds) for seconds in shards)
    free = [(fleet.start_seconds, worker) for worker in range(fleet.workers)]
    returns: list[tuple[float, float]] = []  # when a lost shard is in the queue again, its seconds
    working = lost = end = 0.0
    faults = 0
    while queue or returns:
        now, worker = heapq.heappop(free)
        if not queue:
            back, seconds = heapq.heappop(returns)
            now = max(now, back)
        else:
            seconds = queue.popleft()
        taken = seconds / float(speeds[worker]) + fleet.seconds_per_shard
        fault = float(random.exponential()) * fleet.seconds_between_faults
        if fault < taken:
            faults += 1
            lost += fault + fleet.restart_seconds
            heapq.heappush(returns, (now + fault, seconds))
            heapq.heappush(free, (now + fault + fleet.restart_seconds, worker))
        else:
            working += taken
            end = max(end, now + taken)
            heapq.heappush(free, (now + taken, worker))
    return Run(end, working, lost, faults)
