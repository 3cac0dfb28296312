"""Features of one world at one off-policyness, and what gold says of its pools."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from benchmarks.map.worlds import World
from westofn.core.linear_reward import text_scale
from westofn.evaluation.judges import FloatArray, GoldJudge
from westofn.evaluation.pools import Pool, judge_pool
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
        scale: (width,) standard deviations that all features are divided by.
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
    scale = text_scale(train.flatten(0, 1))

    def differences(pair: Tensor) -> Tensor:
        return (pair[:, 0] - pair[:, 1]) / scale

    return PairFeatures(
        differences(train), differences(both("validation")), differences(both("test")), scale
    )


def read_pool(
    world: World, reader: FeatureReader, split: str, n_candidates: int
) -> tuple[Pool, PoolFeatures]:
    """The world's candidates of D_U or of the test prompts; their features are not scaled yet."""
    data = world.data(0.0, UNLABELED_FROM)
    prompts = data.prompts.filter(pl.col("split") == split)
    candidates = world.candidates(split, prompts, n_candidates)
    pool = Pool.from_frames(candidates, data.prompts)
    gold = judge_pool(GoldJudge.from_frame(data.world), pool)
    return pool, PoolFeatures(reader.pools(pool.prompts, pool.responses), gold)


def draw_labels(pairs: Tensor, count: int, seed: int) -> Tensor:
    """`count` of the training pairs in a random order that `seed` decides."""
    order = np.random.default_rng(seed).permutation(len(pairs))[:count]
    return pairs[torch.from_numpy(order)]
