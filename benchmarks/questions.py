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

from benchmarks.map.worlds import World, one_thread
from westofn.command_line import run_app
from westofn.core.intervals import mean_interval
from westofn.core.linear_reward import fit_by_validation, text_scale
from westofn.core.questions import CandidatePairs, choose_questions
from westofn.core.seeds import derive_seed
from westofn.evaluation.judges import FloatArray, GoldJudge
from westofn.evaluation.pools import Pool, judge_pool
from westofn.models.features import FeatureReader
from westofn.params import load_params

HUMAN = 50
TRAIN_PAIRS = 800  # labels are drawn from them; the prompts of half of them have pools
CANDIDATES = 64
PAIRS_A_PROMPT = 64
ANSWERS = (10, 25, 50, 100)
METRICS = ("held-out accuracy", "on-policy accuracy", "best-of-64 gold")

Measured = dict[str, FloatArray]
"""Arm -> (metrics,)."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@dataclass(frozen=True)
class Features:
    """What a seed's heads read.

    Attributes:
        train: (pairs, width) differences of human pairs, chosen less rejected.
        validation: The same, to choose penalties.
        test: The same, for held-out accuracy.
        pools: (prompts, candidates, width) of the prompts that are asked about.
        gold: (prompts, candidates).
        responses: Their texts.
        test_pools: (prompts, candidates, width) of test prompts.
        test_gold: (prompts, candidates).
        judge: Labels.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    pools: Tensor
    gold: FloatArray
    responses: list[list[str]]
    test_pools: Tensor
    test_gold: FloatArray
    judge: GoldJudge

    @classmethod
    def read(cls, world: World, off_policyness: float) -> Features:
        """Of one world; features are scaled by their spread over texts of human train pairs."""
        reader = FeatureReader(world.policy.model, world.policy.encoder, "mean")
        data = world.data(off_policyness, TRAIN_PAIRS)
        judge = GoldJudge.from_frame(data.world)

        def both(split: str) -> Tensor:
            rows = data.preferences.filter(pl.col("split") == split)
            pairs = zip(rows["chosen"], rows["rejected"], strict=True)
            return reader.pools(rows["prompt"].to_list(), [list(pair) for pair in pairs])

        def pool_of(split: str) -> Pool:
            prompts = data.prompts.filter(pl.col("split") == split)
            return Pool.from_frames(world.candidates(split, prompts, CANDIDATES), data.prompts)

        train = both("train")
        scale = text_scale(train.flatten(0, 1))
        train, validation, test = (
            (pair[:, 0] - pair[:, 1]) / scale for pair in (train, both("validation"), both("test"))
        )
        asked, measured = pool_of("unlabeled"), pool_of("test")
        return cls(
            train=train,
            validation=validation,
            test=test,
            pools=reader.pools(asked.prompts, asked.responses) / scale,
            gold=judge_pool(judge, asked),
            responses=asked.responses,
            test_pools=reader.pools(measured.prompts, measured.responses) / scale,
            test_gold=judge_pool(judge, measured),
            judge=judge,
        )

    def pairs(self, rng: np.random.Generator) -> CandidatePairs:
        """Random pairs of different candidates of every prompt."""
        rows = []
        for prompt, responses in enumerate(self.responses):
            places = {text: place for place, text in enumerate(responses)}
            possible = list(combinations(places.values(), 2))
            drawn = rng.permutation(len(possible))[:PAIRS_A_PROMPT]
            rows += [(prompt, *possible[index]) for index in drawn]
        return CandidatePairs(*torch.tensor(rows).T)

    def measure(self, human: Tensor) -> FloatArray:
        """(metrics,) of the head that is fitted on some pairs; accuracies in percent."""
        weights = fit_by_validation(human, self.validation).weights
        held_out = (torch.sign(self.test @ weights) + 1).mean() / 2
        rewards, gold = (self.test_pools @ weights).numpy(), self.test_gold
        half = CANDIDATES // 2
        margins = gold[:, :half] - gold[:, half:]
        right = (np.sign(margins * (rewards[:, :half] - rewards[:, half:])) + 1) / 2
        best = gold[np.arange(len(gold)), rewards.argmax(1)]
        return np.array([100 * float(held_out), 100 * right[margins != 0].mean(), best.mean()])


def one_draw(features: Features, seed: int, draw: int) -> Measured:
    """All arms on one draw of human pairs, of candidate pairs, and of answers."""
    rng = np.random.default_rng(derive_seed(seed, "questions", draw))
    human = features.train[torch.from_numpy(rng.permutation(len(features.train))[:HUMAN])]
    pairs = features.pairs(rng)
    order = rng.permutation(len(pairs))
    _, first = np.unique(pairs.prompts.numpy()[order], return_index=True)
    chosen = {
        "random": order[np.sort(first)].tolist(),
        "informative": choose_questions(
            human, features.validation, features.pools, pairs, max(ANSWERS), seed=draw
        ).rows,
    }
    rows = pairs.prompts.numpy()
    gold = features.gold[rows, pairs.first.numpy()] - features.gold[rows, pairs.second.numpy()]
    prefers_first = rng.random(len(gold)) < features.judge.p_from_margins(gold)
    signs = torch.from_numpy(np.where(prefers_first, 1.0, -1.0))
    answered = pairs.differences(features.pools) * signs[:, None]
    measured = {"HF50": features.measure(human)}
    for name, picked in chosen.items():
        for count in ANSWERS:
            both = torch.cat([human, answered[picked[:count]]])
            measured[f"{name} {count}"] = features.measure(both)
    return measured


def result_table(runs: Mapping[int, Sequence[Measured]]) -> Table:
    """Means over seeds with 95 % t-intervals, of a seed's mean over its draws."""
    means = [
        {arm: np.mean([draw[arm] for draw in draws], axis=0) for arm in draws[0]}
        for draws in runs.values()
    ]
    table = Table("", *METRICS, title=f"{len(runs)} seeds, {HUMAN} human pairs")

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
