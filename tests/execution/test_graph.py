"""Parts of a graph run in parallel, each after those that it needs."""

from __future__ import annotations

import threading

import pytest

from westofn.execution.graph import DeadlockError, run_graph

GRAPH = {
    "a": frozenset[str](),
    "b": frozenset({"a"}),
    "c": frozenset({"a"}),
    "d": frozenset({"b", "c"}),
}


def test_stages_that_need_each_others_nothing_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=10)
    order = []

    def run(stage: str) -> None:
        if stage in "bc":
            both.wait()
        order.append(stage)

    run_graph(GRAPH, 2, run)
    assert order[0] == "a"
    assert order[-1] == "d"
    assert sorted(order) == ["a", "b", "c", "d"]


def test_one_job_runs_them_in_order() -> None:
    order: list[str] = []
    run_graph(GRAPH, 1, order.append)
    assert order == ["a", "b", "c", "d"]


def test_what_follows_a_failed_stage_does_not_start() -> None:
    order = []

    def run(stage: str) -> None:
        order.append(stage)
        if stage == "b":
            raise ValueError(stage)

    with pytest.raises(ValueError, match="b"):
        run_graph(GRAPH, 1, run)
    assert order == ["a", "b"]


def test_parts_that_wait_for_each_other_are_named_once_the_others_have_run() -> None:
    order: list[str] = []
    graph = {"a": (), "b": ("c",), "c": ("b",)}
    with pytest.raises(DeadlockError, match="b, c wait for each other"):
        run_graph(graph, 2, order.append)
    assert order == ["a"]
