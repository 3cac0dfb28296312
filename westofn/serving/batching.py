"""Requests wait in a queue, and one thread scores several of them together.

The thread takes the requests that wait, up to a budget of tokens. Before that it waits for at most
some milliseconds until as many requests have come as it took the last time: clients that ask one
after another are answered at once, and clients that ask together are scored together.

A request whose rows cannot be scored costs no other request: after a failure each one is scored
alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from westofn.scoring.rows import Row
from westofn.serving.refused import RefusedError

NewColumns = list[Mapping[str, object]]
"""The new columns of each row of a request, as `score` writes them."""


@dataclass(frozen=True)
class BatchLimits:
    """How much is scored together, and how much may wait.

    Attributes:
        tokens: Tokens of the rows that are scored together; a larger request is scored alone.
        seconds: Longest wait for further requests.
        requests: Requests that may be open, from their first byte to the answer.
    """

    tokens: int
    seconds: float
    requests: int


@dataclass(frozen=True, eq=False)
class Job:
    """The rows of one request, their number of tokens, and where the answer goes."""

    rows: Sequence[Row]
    tokens: int
    answer: Future[NewColumns] = field(default_factory=Future)


class Batcher:
    """The queue and its thread.

    Args:
        score: Computes the new columns of rows; it is called in the thread alone.
        limits: See `BatchLimits`.
    """

    def __init__(self, score: Callable[[Sequence[Row]], NewColumns], limits: BatchLimits) -> None:
        self.score, self.limits = score, limits
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._open = 0
        self._last = 1
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Score in the block; at its end, what waits is scored first."""
        self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify()
            self._thread.join()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request as open in the block.

        Raises:
            RefusedError: As many as may be are open.
        """
        with self._changed:
            if self._open >= self.limits.requests:
                raise RefusedError(
                    f"the queue is full: {self._open:,} requests are open; ask again later",
                    503,
                    retry_after="1",
                )
            self._open += 1
        try:
            yield
        finally:
            with self._changed:
                self._open -= 1

    def submit(self, rows: Sequence[Row], tokens: int) -> Future[NewColumns]:
        """Put the rows of a request into the queue.

        Args:
            rows: Rows, at least one.
            tokens: Their number of tokens.

        Returns:
            The new columns of each row; or the error of `score`.
        """
        job = Job(rows, tokens)
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()
        return job.answer

    def _work(self) -> None:
        while (jobs := self._next()) is not None:
            self._last = max(1, len(jobs))
            if len(jobs) > 1 and self._scored_together(jobs):
                continue
            for job in jobs:
                _settle(job, self.score)

    def _next(self) -> list[Job] | None:
        """Wait for jobs and return those to score together; None when the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._changed.wait_for(self._is_enough, self.limits.seconds)
            if not self._waiting:
                return None
            taken = [self._waiting.popleft()]
            tokens = taken[0].tokens
            while self._waiting and tokens + self._waiting[0].tokens <= self.limits.tokens:
                taken.append(self._waiting.popleft())
                tokens += taken[-1].tokens
        return [job for job in taken if job.answer.set_running_or_notify_cancel()]

    def _is_enough(self) -> bool:
        tokens = sum(job.tokens for job in self._waiting)
        return self._closed or len(self._waiting) >= self._last or tokens >= self.limits.tokens

    def _scored_together(self, jobs: Sequence[Job]) -> bool:
        """Score jobs together; return whether that worked."""
        try:
            columns = self.score([row for job in jobs for row in job.rows])
        except Exception:  # each job alone gets its own answer or error
            return False
        rest = iter(columns)
        for job in jobs:
            job.answer.set_result([next(rest) for _ in job.rows])
        return True


def _settle(job: Job, score: Callable[[Sequence[Row]], NewColumns]) -> None:
    try:
        job.answer.set_result(score(job.rows))
    except Exception as error:  # it belongs to the request; the thread goes on
        job.answer.set_exception(error)
