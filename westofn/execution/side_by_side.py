"""`dvc repro` with several stages at a time.

Every stage is one `dvc repro --single-item`, so DVC decides whether it runs, restores it from its
cache, and writes dvc.lock. DVC releases its lock while a stage works and keeps two of its processes
from writing what the other reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from westofn.errors import WestofnError
from westofn.execution.children import run_group
from westofn.execution.experiments import DVC, dvc_json, environment
from westofn.execution.graph import run_graph
from westofn.execution.interrupts import keeping
from westofn.params.reward_start import OF_PIPELINE
from westofn.params.whole import Params

DIGESTS = "code"
"""The stage whose outputs decide which others are out of date."""
HINTS = "To track the changes with git"
"""Start of DVC's last lines, which would follow every stage."""
KEPT = "finished stages stay, run it again to go on"


Graph = Mapping[str, frozenset[str]]
"""Stage -> the stages whose outputs it reads."""


@dataclass(frozen=True)
class PipelineStage:
    """A stage of ./dvc.yaml.

    Attributes:
        needs: Names of the stages whose outputs it reads.
        command: Its command line.
        outs: Paths of its outputs.
    """

    needs: frozenset[str]
    command: str
    outs: tuple[str, ...]


class ReproError(WestofnError):
    """A stage failed, or DVC cannot read the pipeline."""


def reproduce(jobs: int, say: Callable[[str], None]) -> int:
    """Run the stages of ./dvc.yaml that are out of date, and those that read their outputs.

    Args:
        jobs: Stages at a time.
        say: Called with every line that DVC and the stages print, from several threads.

    Returns:
        The number of stages that were out of date or read what was.

    Raises:
        ReproError: A stage failed. The stages that run beside it end, and no other starts.
        ExperimentError: DVC cannot say what is out of date.
    """
    graph = {name: stage.needs for name, stage in pipeline().items()}
    with keeping(KEPT):
        if DIGESTS in (changed := _changed(graph)):
            run_graph({DIGESTS: frozenset()}, jobs, lambda stage: _repro(stage, say))
            changed = _changed(graph)
        pending = affected(graph, changed)
        run_graph(
            {stage: graph[stage] & pending for stage in graph if stage in pending},
            jobs,
            lambda stage: _repro(stage, say),
        )
    return len(pending)


def default_jobs(params: Params) -> int:
    """Two stages at a time, or the number of cores, where all models are small ones from scratch.

    Pretrained models may not fit into memory twice, so their stages follow one another.
    """
    from_scratch = params.sft.model == "scratch" and params.reward_start.model in OF_PIPELINE
    return min(2, len(os.sched_getaffinity(0))) if from_scratch else 1


def affected(graph: Graph, changed: Iterable[str]) -> set[str]:
    """Return the changed stages and all that read their outputs, directly or not.

    >>> sorted(affected({"a": frozenset(), "b": frozenset("a"), "c": frozenset()}, ["a"]))
    ['a', 'b']
    """
    reached = set(changed)
    while more := {stage for stage, needs in graph.items() if needs & reached} - reached:
        reached |= more
    return reached


def pipeline() -> dict[str, PipelineStage]:
    """Return the stages of ./dvc.yaml by name, in its order.

    Raises:
        ReproError: DVC cannot read the file.
    """
    # Imported here because the import takes a second.
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.repo import Repo  # type: ignore[import-untyped]

    try:
        with Repo() as repo:
            stages = repo.index.graph
            names = {stage: stage.addressing for stage in repo.index.stages}
            return {
                names[stage]: PipelineStage(
                    frozenset(names[need] for need in stages.successors(stage)),
                    str(stage.cmd),
                    tuple(out.def_path for out in stage.outs),
                )
                for stage in names
                if Path(stage.path) == Path("dvc.yaml").resolve()
            }
    except DvcException as error:
        raise ReproError(f"dvc.yaml cannot be read: {error}") from None


def _changed(graph: Graph) -> list[str]:
    """Return the stages that `dvc status` names."""
    return [stage for stage in dvc_json("status") if stage in graph]


def _repro(stage: str, say: Callable[[str], None]) -> None:
    """Let DVC run a stage."""
    command = [*DVC, "repro", "--single-item", stage]
    at_end = False

    def forward(line: str) -> None:
        nonlocal at_end
        at_end |= line.startswith(HINTS)
        if line and not at_end:
            say(line)

    done = run_group(command, environment(), forward)
    if done.returncode:
        raise ReproError(f"stage {stage} failed; mend what its lines say and run it again")
