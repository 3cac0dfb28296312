"""`python -m westofn study`: main pipeline and study over several seeds -> study.json."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

from rich.console import Console

from westofn.execution.experiments import Experiment, read_output, run_all
from westofn.params.won_select import StopParams
from westofn.study.parts import Part
from westofn.study.records import HEADLINE_PARTS, PARTS, Run, Study, collect, write_study

ROUNDS = ("k1", "k2", "k3")
MAIN = "dvc.yaml"
STUDY = "study/dvc.yaml"
STAGES = {
    "study/run.yaml:run": "[once]",
    "study/run.yaml:rounds": f"[{', '.join(ROUNDS)}]",
}
"""The settings that make the stages of the study; without them there are none."""
NO_STOP = {f"won_select.stop.{name}": 0.0 for name in StopParams.model_fields}
"""A round that the loop would stop is measured: its health numbers stand beside its results."""
FIRST = ("base_rm", "eval_pool", f"{STUDY}:study_judge")
"""What all other stages of a seed read."""


def target(part: Part) -> str:
    """The DVC target of a part."""
    return f"{STUDY}:{part.stage}"


GROUPS = {
    "networks": (target(Part.NETWORKS),),
    "selection": (target(Part.SELECTION), target(Part.TEACHERS)),
    "data": (target(Part.DATA), target(Part.SIZE)),
    "main": (MAIN, target(Part.ITERATIONS)),
    "baselines": (target(Part.BASELINES),),
    "bases": (target(Part.OVEROPTIMISATION), target(Part.SYNTHETIC_BASES)),
}
"""Groups of targets that run side by side, the longest first: two processes share a seed evenly."""
HEADLINE = ("baselines",)
"""The groups that every seed runs; the others are ablations, which the first seeds alone run."""
AFTER_MAIN = ("bases",)
"""Groups that read the students of the main pipeline."""


@dataclass(frozen=True)
class Plan:
    """Which seeds run what.

    Attributes:
        seeds: Values of `seed`, in order; all run the headline.
        ablations: How many of them, from the first on, run the main pipeline with its rounds and
            the other parts too.
    """

    seeds: Sequence[int]
    ablations: int

    def ablates(self, seed: int) -> bool:
        """Whether a seed runs the ablations."""
        return seed in self.seeds[: self.ablations]

    def groups(self, seed: int) -> dict[str, tuple[str, ...]]:
        """The groups of a seed, in the order in which they may start."""
        names = GROUPS if self.ablates(seed) else HEADLINE
        return {name: GROUPS[name] for name in names}

    def parts(self, seed: int) -> tuple[Part, ...]:
        """The parts whose records a seed has, those of rounds left out."""
        return PARTS if self.ablates(seed) else HEADLINE_PARTS


def run_study(
    plan: Plan,
    known: Container[str],
    world: Mapping[str, float],
    jobs: int,
    out: Path,
    console: Console,
) -> Study:
    """Run the seeds side by side, one thread each; what has run before comes from DVC's cache.

    Every seed has its own world, models and test set, and a loop of three rounds. It is several
    experiments in temporary copies of the repository, `first-9`, `main-9` and so on, each with
    what it wrote. A killed run goes on where it stopped.

    Args:
        plan: Which seeds, and which of them run the ablations.
        known: The rounds that params.yaml has already (`loop`).
        world: Settings of the embedded world, which go into study.json.
        jobs: Experiments at a time.
        out: The file study.json.
        console: For progress.

    Raises:
        ExperimentError: A stage failed; what other seeds finished stays cached.
    """
    rounds = {
        f"+loop.{name}" if name not in known else f"loop.{name}": f"{{prev: {before}}}"
        for name, before in zip(ROUNDS, ("k0", *ROUNDS), strict=False)
    }
    experiments = experiments_of(plan, {**rounds, **NO_STOP, **STAGES})
    wrote: dict[int, dict[str, str]] = {seed: {} for seed in plan.seeds}
    runs: dict[int, Run] = {}

    def finished(experiment: Experiment, revision: str) -> None:
        console.print(f"{experiment.name} done")
        seed = int(experiment.settings["seed"])
        revisions = wrote[seed]
        revisions |= dict.fromkeys(experiment.targets, revision)
        if not revisions.keys() >= {*chain.from_iterable(plan.groups(seed).values())}:
            return
        runs[seed] = collect(
            lambda path: read_output(revisions[_target_that_writes(path)], path),
            ROUNDS if plan.ablates(seed) else (),
            plan.parts(seed),
        )
        # After every seed: what is measured is not lost with those that fail or are stopped.
        done = sorted(runs)
        write_study(Study(done, [runs[seed] for seed in done], world), out)
        console.print(f"seed {seed} done, {len(done)} of {len(plan.seeds)}: {out}")

    run_all(experiments, jobs, finished)
    return Study(plan.seeds, [runs[seed] for seed in plan.seeds], world)


def experiments_of(plan: Plan, settings: Mapping[str, float | str]) -> list[Experiment]:
    """The experiments of all seeds, in the order in which they may start.

    Args:
        plan: Which seeds run what.
        settings: Values of params.yaml beside the seed.
    """
    return [
        experiment
        for seed in plan.seeds
        for experiment in (
            Experiment(f"first-{seed}", {"seed": seed, **settings}, FIRST, afresh=True),
            *(
                Experiment(
                    f"{group}-{seed}",
                    {"seed": seed, **settings},
                    targets,
                    after=(f"first-{seed}", *([f"main-{seed}"] if group in AFTER_MAIN else [])),
                    afresh=True,
                )
                for group, targets in plan.groups(seed).items()
            ),
        )
    ]


def _target_that_writes(path: str) -> str:
    """The target that writes a file which `collect` reads."""
    if path == "metrics.json":
        return MAIN
    _, _, name, *_ = PurePosixPath(path).parts  # data/study/NAME.json or data/study/NAME/ROUND.json
    return target(Part(name.removesuffix(".json")))
