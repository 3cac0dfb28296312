"""The order of the study's experiments: how long two processes need for it."""

from __future__ import annotations

import heapq

import pytest

from westofn.study.run import GROUPS, Plan, experiments_of

SECONDS = {
    "networks": 110,
    "first": 150,
    "selection": 710,
    "data": 450,
    "main": 270,
    "baselines": 240,
    "bases": 210,
}
"""CPU seconds of a group, from "Time of the study" in docs/log.md."""


def makespan(plan: Plan, jobs: int) -> tuple[float, float]:
    """When the last experiment ends and the sum of all, by the rule of `run_all`."""
    waiting = experiments_of(plan, {})
    seconds = {one.name: SECONDS[one.name.rpartition("-")[0]] for one in waiting}
    ended: set[str] = set()
    running: list[tuple[float, str]] = []
    now = 0.0
    while waiting or running:
        for one in [e for e in waiting if ended.issuperset(e.after)][: jobs - len(running)]:
            waiting.remove(one)
            heapq.heappush(running, (now + seconds[one.name], one.name))
        now, name = heapq.heappop(running)
        ended.add(name)
    return now, float(sum(seconds.values()))


@pytest.mark.parametrize("plan", [Plan(range(9, 18), 3), Plan(range(9, 11), 1), Plan([9], 0)])
def test_two_processes_are_filled_evenly(plan: Plan) -> None:
    end, total = makespan(plan, 2)
    # What a seed's other experiments read comes first, and one experiment may end alone.
    idle = SECONDS["first"] + max(SECONDS[name] for name in plan.groups(plan.seeds[-1]))
    assert total / 2 <= end <= total / 2 + idle / 2


def test_the_cost_of_every_group_is_known() -> None:
    assert {"first", *GROUPS} == SECONDS.keys()


def test_a_seed_that_is_no_ablation_has_the_headlines_parts() -> None:
    plan = Plan(range(9, 18), 3)
    assert [seed for seed in plan.seeds if plan.parts(seed) != ("baselines",)] == [9, 10, 11]
    assert [*plan.groups(12)] == ["baselines"]
