"""Rewards of pools by a judge or a model, and random pairs of candidates to compare.

In every array row p is a prompt, column i its candidate i.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from westofn.artifacts.pool_scores import POOL_SCORES
from westofn.artifacts.pools import IndexArray, Pools
from westofn.core.seeds import derive_seed
from westofn.errors import ModelError
from westofn.evaluation.judges import FloatArray, RewardJudge
from westofn.models.ensemble import Ensemble, mean_rewards


def judge_pools(judge: RewardJudge, pools: Pools) -> FloatArray:
    """The judge's reward of every candidate, (P, N)."""
    return judge.rewards(*pools.flat()).reshape(-1, pools.n_candidates)


def model_rewards(model: str, ensemble: Ensemble, pools: Pools) -> FloatArray:
    """A pointwise model's raw reward of every candidate, (P, N); of several the mean.

    Raises:
        ModelError: The model is pairwise, or a reward is NaN or infinite.
    """
    ensemble.require_pointwise("best-of-n")
    rewards = mean_rewards(ensemble, pools.prompts, pools.responses).double().numpy()
    require_finite(model, "candidates", rewards)
    return rewards


def pool_scores(model: str, pools: Pools, rewards: FloatArray) -> pl.DataFrame:
    """Table POOL_SCORES of rewards (P, N)."""
    prompts, size = rewards.shape
    columns = {
        "prompt_id": np.repeat(pools.prompt_ids, size).tolist(),
        "candidate_index": np.tile(np.arange(size, dtype=np.int32), prompts),
        "model": [model] * rewards.size,
        "reward": rewards.ravel().astype(np.float32),
    }
    return POOL_SCORES.frame(columns)


@dataclass(frozen=True)
class PoolPairs:
    """K unordered pairs of different candidates of each of P prompts.

    Attributes:
        first: (P, K), the lower candidate_index.
        second: (P, K), the higher one.
    """

    first: IndexArray
    second: IndexArray

    def difference(self, values: FloatArray) -> FloatArray:
        """Values (P, N) of the first less those of the second, (P, K)."""
        first = np.take_along_axis(values, self.first, axis=1)
        difference: FloatArray = first - np.take_along_axis(values, self.second, axis=1)
        return difference


def draw_pairs(pools: Pools, per_prompt: int, seed: int, purpose: str) -> PoolPairs:
    """Random pairs without replacement; all N(N − 1)/2 of them where `per_prompt` is no fewer.

    A prompt's pairs follow from (seed, purpose, prompt_id) alone, whatever its neighbours.
    """
    first, second = np.triu_indices(pools.n_candidates, k=1)
    shape = (len(pools.prompt_ids), min(per_prompt, len(first)))
    if per_prompt >= len(first):
        return PoolPairs(np.broadcast_to(first, shape), np.broadcast_to(second, shape))
    seeds = (derive_seed(seed, purpose, name) for name in pools.prompt_ids)
    drawn = np.stack(
        [np.random.default_rng(s).choice(len(first), per_prompt, replace=False) for s in seeds]
    )
    return PoolPairs(first[drawn], second[drawn])


def require_finite(model: str, rows: str, values: FloatArray) -> None:
    """Refuse a model that answers with NaN or infinity."""
    if bad := int((~np.isfinite(values)).sum()):
        raise ModelError(
            f"model {model}: {bad} of {values.size} rewards of {rows} are NaN or infinite; its "
            "training diverged: lower reward.learning_rate and rerun the stage that wrote it"
        )
