"""Informative questions against random ones: what labels of the policy's own pairs bring.

    python -m benchmarks.questions --seeds 300,301,302,303 --worlds .scratch/map

In the embedded world the gold annotator answers, with its temperature. HF50 has 50 human pairs; K
answers are added, to the questions that `export questions` would choose or to random pairs of
random prompts. Rewards are linear heads on frozen features of the policy, the penalty chosen by
validation. Worlds are made where their folder does not hold them, two minutes each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.map.features import PairFeatures, PoolFeatures, draw_labels, read_pairs
from benchmarks.map.linear import Record, measure
from benchmarks.map.worlds import World, one_thread
from westofn.artifacts.pools import Pools
from westofn.commands.run import run_app
from westofn.core.intervals import mean_interval
from westofn.core.linear_reward import fit_by_validation
from westofn.core.questions import PAIRS_A_PROMPT, CandidatePairs, choose_questions
from westofn.core.seeds import derive_seed
from westofn.evaluation.candidate_rewards import judge_pools
from westofn.evaluation.judges import FloatArray, GoldJudge
from westofn.models.features import FeatureReader
from westofn.params.whole import load_params

HUMAN = 50
TRAIN_PAIRS = 800  # labels are drawn from them; the prompts of half of them have pools
CANDIDATES = 64
ANSWERS = (10, 25, 50, 100)
METRICS = {
    "accuracy": "held-out accuracy",
    "on_policy_accuracy": "on-policy accuracy",
    "best_of_n_gold": "best-of-64 gold",
    "best_of_n_win_rate": "best-of-64 wins",
}
Measured = dict[str, Record]
"""Arm -> metric -> value."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@dataclass(frozen=True)
class Features:
    """What a seed's heads read.

    Attributes:
        human: Human pairs, to draw from, to choose penalties and to measure on.
        asked: Pools of the prompts that are asked about.
        responses: Their texts.
        test: Pools of test prompts.
        judge: Labels.
    """

    human: PairFeatures
    asked: PoolFeatures
    responses: list[list[str]]
    test: PoolFeatures
    judge: GoldJudge

    @classmethod
    def read(cls, world: World, off_policyness: float) -> Features:
        """Of one world."""
        reader = FeatureReader(world.policy.model, world.policy.encoder, "mean")
        data = world.data(off_policyness, TRAIN_PAIRS)
        judge = GoldJudge.from_frame(data.world)
        human = read_pairs(reader, data)

        def pools_of(split: str) -> tuple[list[list[str]], PoolFeatures]:
            prompts = data.prompts.filter(pl.col("split") == split)
            pools = Pools.from_frames(world.candidates(split, prompts, CANDIDATES), data.prompts)
            features = reader.pools(pools.prompts, pools.responses) * human.scale
            return pools.responses, PoolFeatures(features, judge_pools(judge, pools))

        responses, asked = pools_of("unlabeled")
        return cls(human, asked, responses, pools_of("test")[1], judge)

    def pairs(self, rng: np.random.Generator) -> CandidatePairs:
        """Random pairs of different candidates of every prompt."""
        rows = []
        for prompt, responses in enumerate(self.responses):
            places = {text: place for place, text in enumerate(responses)}
            possible = list(combinations(places.values(), 2))
            drawn = rng.permutation(len(possible))[:PAIRS_A_PROMPT]
            rows += [(prompt, *possible[index]) for index in drawn]
        return CandidatePairs(*torch.tensor(rows).T)

    def measure(self, labels: Tensor) -> Record:
        """Metrics of the head that is fitted on some pairs."""
        fitted = fit_by_validation(labels, self.human.validation)
        return measure(fitted.weights, self.human, self.test)


def one_draw(features: Features, seed: int, draw: int) -> Measured:
    """All arms on one draw of human pairs, of candidate pairs, and of answers."""
    rng = np.random.default_rng(derive_seed(seed, "questions", draw))
    human = draw_labels(features.human.train, HUMAN, draw)
    pairs = features.pairs(rng)
    order = rng.permutation(len(pairs))
    _, first = np.unique(pairs.prompts.numpy()[order], return_index=True)
    pools = features.asked.features
    chosen = {
        "random": order[np.sort(first)].tolist(),
        "informative": choose_questions(
            human, features.human.validation, pools, pairs, max(ANSWERS), seed=draw
        ).rows,
    }
    rows = pairs.prompts.numpy()
    worth = features.asked.gold
    gold = worth[rows, pairs.first.numpy()] - worth[rows, pairs.second.numpy()]
    prefers_first = rng.random(len(gold)) < features.judge.p_from_margins(gold)
    signs = torch.from_numpy(np.where(prefers_first, 1.0, -1.0))
    answered = pairs.differences(pools) * signs[:, None]
    measured = {"HF50": features.measure(human)}
    for name, picked in chosen.items():
        for count in ANSWERS:
            both = torch.cat([human, answered[picked[:count]]])
            measured[f"{name} {count}"] = features.measure(both)
    return measured


def result_table(runs: Mapping[int, Sequence[Measured]]) -> Table:
    """Means over seeds with 95 % t-intervals, of a seed's mean over its draws."""
    means: list[dict[str, FloatArray]] = [
        {arm: np.mean([_values(draw[arm]) for draw in draws], axis=0) for arm in draws[0]}
        for draws in runs.values()
    ]
    title = f"{len(runs)} seeds, {HUMAN} human pairs"
    table = Table("", *METRICS.values(), title=title)

    def row(name: str, values: Sequence[FloatArray]) -> None:
        intervals = [mean_interval(column) for column in np.array(values).T]
        table.add_row(name, *(f"{found.mean:.2f} ± {found.half:.2f}" for found in intervals))

    row("HF50", [mean["HF50"] for mean in means])
    for count in ANSWERS:
        random, informative = f"random {count}", f"informative {count}"
        row(f"{random} − HF50", [mean[random] - mean["HF50"] for mean in means])
        row(f"{informative} − HF50", [mean[informative] - mean["HF50"] for mean in means])
        row(f"{informative} − random", [mean[informative] - mean[random] for mean in means])
    return table


def _values(record: Record) -> FloatArray:
    return np.array([record[key] for key in METRICS])


@app.command()
def benchmark(
    seeds: Annotated[str, typer.Option(help="comma-separated; 300 and above are for development")],
    worlds: Annotated[Path, typer.Option(help="folder of policies and pools")] = Path(
        ".scratch/map"
    ),
    draws: Annotated[int, typer.Option(min=1, help="of labels, a seed")] = 6,
    alignment: Annotated[float, typer.Option(min=0, max=1)] = 0.9,
    off_policyness: Annotated[float, typer.Option(min=0, max=1)] = 1.0,
) -> None:
    """Measure informative and random questions over seeds; print the table."""
    one_thread()
    params, console = load_params(), Console(width=120)
    runs: dict[int, list[Measured]] = {}
    for seed in map(int, seeds.split(",")):
        world = World(params, alignment, seed, worlds / f"a{alignment}-s{seed}")
        features = Features.read(world, off_policyness)
        runs[seed] = [one_draw(features, seed, draw) for draw in range(draws)]
        console.print(f"seed {seed}: {draws} draws")
    console.print(result_table(runs))


def main() -> None:
    """Run the command; an expected error is one line and exit code 2."""
    run_app(app, "benchmarks.questions")


if __name__ == "__main__":
    main()
