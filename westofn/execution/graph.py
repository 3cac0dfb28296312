"""Run what depends on one another in parallel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Result = TypeVar("Result")


class DeadlockError(Exception):
    """What is left waits for one another or for what is not there.

    Attributes:
        waiting: Their names.
    """

    def __init__(self, waiting: list[str]) -> None:
        super().__init__(f"{', '.join(waiting)} wait for each other or for unknown ones")
        self.waiting = waiting


def run_graph(
    graph: Mapping[str, Collection[str]],
    jobs: int,
    run: Callable[[str], Result],
    finished: Callable[[str, Result], None] = lambda name, result: None,
) -> None:
    """Run parts in parallel, each after those that it needs; the first that can start starts first.

    Args:
        graph: Name -> names of the parts that must end before.
        jobs: Parts at a time.
        run: Runs a part, in another thread. If it raises, the running parts end, no other starts,
            and the error is raised.
        finished: Called in this thread with a part's name and what `run` returned.

    Raises:
        DeadlockError: Parts wait for each other, or for one that is not in the graph.
    """
    waiting, ended = list(graph), set[str]()
    running: dict[Future[Result], str] = {}
    with ThreadPoolExecutor(jobs) as pool:
        while waiting or running:
            ready = [name for name in waiting if ended.issuperset(graph[name])]
            for name in ready[: jobs - len(running)]:
                waiting.remove(name)
                running[pool.submit(run, name)] = name
            if not running:
                raise DeadlockError(waiting)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                name = running.pop(future)
                finished(name, future.result())
                ended.add(name)
