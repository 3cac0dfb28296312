"""Features of one world at one off-policyness, and what gold says of its pools."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from benchmarks.map.worlds import World
from westofn.artifacts.pools import Pools
from westofn.core.linear_reward import inverse_spread
from westofn.evaluation.candidate_rewards import judge_pools
from westofn.evaluation.judges import FloatArray, GoldJudge
from westofn.models.features import FeatureReader
from westofn.sources.data import SourceData

UNLABELED_FROM = 400
"""Train pairs of the frames whose unlabeled half gives D_U: 200 prompts."""


@dataclass(frozen=True)
class PoolFeatures:
    """The policy's candidates of P prompts.

    Attributes:
        features: (P, N, width), scaled.
        gold: (P, N) gold rewards.
    """

    features: Tensor
    gold: FloatArray


@dataclass(frozen=True)
class PairFeatures:
    """Human pairs of one off-policyness; (pairs, width) scaled differences, chosen less rejected.

    Attributes:
        train: Pairs from which draws of labels are taken.
        validation: Pairs that choose penalties and powers.
        test: Pairs for held-out accuracy.
        scale: (width,) numbers that all features are multiplied by.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    scale: Tensor


def read_pairs(reader: FeatureReader, data: SourceData) -> PairFeatures:
    """Features of the human pairs of all splits, scaled by their spread over training texts."""

    def both(split: str) -> Tensor:
        rows = data.preferences.filter(pl.col("split") == split)
        pairs = zip(rows["chosen"], rows["rejected"], strict=True)
        return reader.pools(rows["prompt"].to_list(), [list(pair) for pair in pairs])

    train = both("train")
    scale = inverse_spread(train.flatten(0, 1))

    def differences(pair: Tensor) -> Tensor:
        return (pair[:, 0] - pair[:, 1]) * scale

    return PairFeatures(
        differences(train), differences(both("validation")), differences(both("test")), scale
    )


def judged_pools(world: World, split: str, n_candidates: int) -> tuple[Pools, FloatArray]:
    """The world's candidates of D_U or of the test prompts, and gold's reward of each, (P, N)."""
    data = world.data(0.0, UNLABELED_FROM)
    prompts = data.prompts.filter(pl.col("split") == split)
    pools = Pools.from_frames(world.candidates(split, prompts, n_candidates), data.prompts)
    return pools, judge_pools(GoldJudge.from_frame(data.world), pools)


def read_pools(
    world: World, reader: FeatureReader, split: str, n_candidates: int, scale: Tensor
) -> PoolFeatures:
    """Scaled features of the candidates of a split."""
    pools, gold = judged_pools(world, split, n_candidates)
    return PoolFeatures(reader.pools(pools.prompts, pools.responses) * scale, gold)


def draw_labels(pairs: Tensor, count: int, seed: int) -> Tensor:
    """`count` of the training pairs in a random order that `seed` decides."""
    order = np.random.default_rng(seed).permutation(len(pairs))[:count]
    return pairs[torch.from_numpy(order)]
