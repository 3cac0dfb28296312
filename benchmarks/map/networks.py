"""The arms of one cell with trained networks, by the function that trains the pipeline's models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from benchmarks.kept import trained_network
from benchmarks.map.linear import Record, label_accuracy, measure_pool
from westofn.artifacts.pools import Pools
from westofn.core.metrics import accuracy
from westofn.core.selection import BestWorst, exact_best_worst, top_bottom_pairs
from westofn.evaluation.judges import FloatArray
from westofn.models.reward import Scorer
from westofn.models.scoring import pair_margins, pool_margins, score_pools
from westofn.params.reward import RewardModelParams
from westofn.params.whole import Params
from westofn.sources.data import SourceData
from westofn.study.synthetic import from_selection
from westofn.training.arms import preferences_from
from westofn.training.pairs import Preferences, TrainingPairs
from westofn.training.recipe import Head, Recipe

MANY = 16
ARMS = ("hf50", "hf100", "west", "west16")


@dataclass(frozen=True)
class Cell:
    """What the arms of one cell and seed share.

    Attributes:
        params: All of params.yaml.
        policy: Folder of the SFT policy.
        data: Frames of the world at the cell's off-policyness.
        labels: Rows of train pairs: HF100, whose first half is HF50.
        unlabeled: Pools of D_U.
        unlabeled_gold: (P, N) gold rewards of `unlabeled`.
        test: Pools of the test prompts.
        test_gold: (P, N) gold rewards of `test`.
        seed: Decides the trainings.
        scratch: Folder for checkpoints.
    """

    params: Params
    policy: Path
    data: SourceData
    labels: pl.DataFrame
    unlabeled: Pools
    unlabeled_gold: FloatArray
    test: Pools
    test_gold: FloatArray
    seed: int
    scratch: Path

    def split(self, name: str) -> pl.DataFrame:
        """Human pairs of a split."""
        return self.data.preferences.filter(pl.col("split") == name)


def network_arms(cell: Cell, arms: Sequence[str] = ARMS) -> dict[str, Record]:
    """Train and measure arms; the teacher is a base model of HF50."""
    hf50 = preferences_from(cell.labels.head(len(cell.labels) // 2))
    base = cell.params.base_rm
    teacher = _train(cell, "teacher", hf50, None, base, Head(base.comparator, base.planes))
    margins = pool_margins(teacher, cell.unlabeled.prompts, cell.unlabeled.responses)
    west = exact_best_worst(margins)
    pairs: Mapping[str, BestWorst | None] = {
        "hf50": None,
        "hf100": None,
        "west": west,
        "west16": top_bottom_pairs(margins, MANY),
    }
    records: dict[str, Record] = {}
    for name in arms:
        human = preferences_from(cell.labels) if name == "hf100" else hf50
        chosen = pairs[name]
        synthetic = None if chosen is None else from_selection(cell.unlabeled, chosen).preferences
        scorer = _train(cell, name, human, synthetic, cell.params.student_rm, Head("pointwise"))
        records[name] = measure_network(cell, scorer)
    if "west" in records:
        mean_margin = margins.mean(2)
        records["west"]["label_accuracy"] = label_accuracy(mean_margin, cell.unlabeled_gold)
    return records


def measure_network(cell: Cell, scorer: Scorer) -> Record:
    """What `measure` of linear heads measures, of a pointwise network."""
    test = cell.split("test")
    prompts, chosen, rejected = (test[name].to_list() for name in ("prompt", "chosen", "rejected"))
    rewards: Tensor = torch.stack(score_pools(scorer, cell.test.prompts, cell.test.responses))
    return {
        "accuracy": 100 * accuracy(pair_margins(scorer, prompts, chosen, rejected).numpy()),
        **measure_pool(rewards[..., 0].double().numpy(), cell.test_gold),
    }


def _train(
    cell: Cell,
    name: str,
    human: Preferences,
    synthetic: Preferences | None,
    params: RewardModelParams,
    head: Head,
) -> Scorer:
    fraction = cell.params.student_rm.synthetic_fraction
    pairs = TrainingPairs(human, synthetic, preferences_from(cell.split("validation")), fraction)
    recipe = Recipe(cell.policy, cell.params.reward_start, params, cell.seed, head)
    return trained_network(name, pairs, recipe, cell.scratch / name)
