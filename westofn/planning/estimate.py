"""What the whole run takes: the line through two probes of every stage, extended to its work."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from westofn.execution.side_by_side import PipelineStage
from westofn.generation.sample_pools import prompts_a_shard
from westofn.networks.room import free_bytes
from westofn.params.whole import Params
from westofn.planning.probe import UNPROBED, Probed, probe
from westofn.planning.work import Counts, kind_of, work_of

CANDIDATE_BYTES = 60
"""Memory that a stage needs for each candidate of a table that it reads: docs/performance.md."""
LARGER = 4
"""How many times more prompts than the first probe the second one has."""
_FEWEST = 8
"""Prompts of the first probe, at least."""
_ALIKE = {
    "reference_rm@hf100": "reference_rm@hf50",
    "eval_reference@hf100": "eval_reference@hf50",
    "eval_reference@prior": "eval_reference@hf50",
}
"""Stages that are not probed, with the one whose line they share."""


@dataclass(frozen=True)
class Estimate:
    """What a stage of the whole run takes.

    Attributes:
        work: Responses that it reads, see `westofn.planning.work`.
        start: Seconds that do not depend on the work.
        seconds: Seconds in all.
        memory: Peak memory, in bytes.
        device_memory: Peak memory on a GPU, in bytes; 0 without one.
        size: Bytes of its outputs.
    """

    work: float
    start: float
    seconds: float
    memory: int
    device_memory: int
    size: int


def estimate(
    params: Params,
    counts: Counts,
    stages: Mapping[str, PipelineStage],
    jobs: int,
    read: Callable[[Path], Params],
    say: Callable[[str], None],
) -> dict[str, Estimate]:
    """Probe every stage twice and return what each stage of the whole run takes.

    Args:
        params: All parameters, of ./params.yaml.
        counts: Rows that `prepare` wrote.
        stages: All stages of ./dvc.yaml, by name.
        jobs: Stages of a probe that run at a time.
        read: Reads the parameters of a probe from their file.
        say: Called with a line when a stage of a probe begins.

    Returns:
        Stage -> estimate, for all stages in which a model runs.

    Raises:
        ProbeError: A stage failed in a probe.
        DataError: What `prepare` wrote is damaged.
    """
    modelled = {name: stage for name, stage in stages.items() if kind_of(name) not in UNPROBED}
    probed = {name: modelled[name] for name in modelled if _line_of(name, params) == name}
    prompts = max(_FEWEST, params.rlhf.batch_size // params.rlhf.samples_per_prompt)

    def probed_on(size: int) -> dict[str, Probed]:
        return probe(params, probed, size, jobs, read, lambda name: say(f"{size} prompts: {name}"))

    small, large = probed_on(prompts), probed_on(LARGER * prompts)
    return {
        name: extended(
            small[line := _line_of(name, params)],
            large[line],
            work_of(name, params, counts),
            _more_memory(name, params, counts, small[line], large[line]),
        )
        for name in modelled
    }


def extended(small: Probed, large: Probed, work: float, more_memory: int = 0) -> Estimate:
    """Extend the line through two probes of a stage.

    Args:
        small: The smaller probe.
        large: The larger probe.
        work: Work in the whole run.
        more_memory: Bytes that the whole run needs beyond the larger probe.

    >>> small = Probed(work=10, seconds=6.0, memory=100, device_memory=0, size=30)
    >>> large = Probed(work=40, seconds=9.0, memory=110, device_memory=0, size=60)
    >>> whole = extended(small, large, work=1000)
    >>> round(whole.start), round(whole.seconds), whole.memory, whole.size
    (5, 105, 110, 1020)
    """
    grown = large.work - small.work

    def line(first: float, second: float) -> tuple[float, float]:
        rate = max(0.0, (second - first) / grown) if grown else 0.0
        start = max(0.0, second - rate * large.work)
        return start, start + rate * work

    start, seconds = line(small.seconds, large.seconds)
    return Estimate(
        work,
        start,
        seconds,
        large.memory + more_memory,
        large.device_memory,
        round(line(small.size, large.size)[1]),
    )


def makespan(
    seconds: Mapping[str, float], needs: Mapping[str, Collection[str]], jobs: int
) -> float:
    """Return the duration of stages that run side by side, each after those that it needs.

    Args:
        seconds: Stage -> its duration.
        needs: Stage -> stages that end before; those without a duration take no time.
        jobs: Stages at a time.

    >>> makespan({"a": 1.0, "b": 4.0, "c": 2.0}, {"a": (), "b": "a", "c": "a"}, 2)
    5.0
    """
    waiting = list(seconds)
    running: list[tuple[float, str]] = []
    ended, now = set(needs) - set(seconds), 0.0
    while waiting or running:
        ready = [name for name in waiting if ended.issuperset(needs[name])]
        for name in ready[: jobs - len(running)]:
            waiting.remove(name)
            heapq.heappush(running, (now + seconds[name], name))
        now, name = heapq.heappop(running)
        ended.add(name)
    return now


def _line_of(name: str, params: Params) -> str:
    """Return the stage whose line a stage shares: itself, or the same stage of the first round."""
    kind, _, item = name.partition("@")
    first = next(iter(params.loop))
    return f"{kind}@{first}" if item in params.loop else _ALIKE.get(name, name)


def _more_memory(name: str, params: Params, counts: Counts, small: Probed, large: Probed) -> int:
    """Return the memory of a stage beyond that of its larger probe.

    A stage that samples takes more prompts at once, up to half of the free memory; other stages
    read more candidates.
    """
    candidates = params.sample.n_candidates
    kind = kind_of(name)
    if kind in ("sample", "eval_pool"):
        prompts = counts.unlabeled if kind == "sample" else counts.test_prompts
        at_once = min(prompts, prompts_a_shard(candidates, params.sft.max_response_tokens))
        a_row = max(0.0, (large.memory - small.memory) / (large.work - small.work))
        more = round(a_row * (at_once * candidates - large.work))
        return max(0, min(more, _half_of_free()))
    if kind in ("won_select", "filter", "student_rm", "prior_rm", "forecast", "eval"):
        return round(CANDIDATE_BYTES * counts.unlabeled * candidates)
    return 0


def _half_of_free() -> int:
    import torch

    free = free_bytes(torch.device("cpu"))
    return 2**62 if free is None else free // 2
