"""Pools of candidates as arrays: row p is a prompt, column i its candidate i."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from westofn.artifacts.pool_scores import POOL_SCORES
from westofn.core.seeds import derive_seed
from westofn.errors import DataError, ModelError
from westofn.evaluation.judges import FloatArray, Judge
from westofn.models.ensemble import Ensemble, mean_rewards

IndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """The N candidates of each of P prompts.

    Attributes:
        prompt_ids: P ids, in order.
        prompts: Their texts.
        responses: P lists of N responses, by candidate_index.
        logprob_per_token: (P, N), log π(y|x) / tokens, nats, of the policy that sampled.
    """

    prompt_ids: list[str]
    prompts: list[str]
    responses: list[list[str]]
    logprob_per_token: FloatArray

    @classmethod
    def from_frames(cls, candidates: pl.DataFrame, prompts: pl.DataFrame) -> Pool:
        """The pools of tables CANDIDATES and PROMPTS; prompts without candidates are left out.

        Raises:
            DataError: There are no candidates, fewer than two a prompt, or none of their prompt.
        """
        ordered = candidates.sort("prompt_id", "candidate_index")
        ids = ordered["prompt_id"].unique(maintain_order=True).to_list()
        size = ordered.height // max(1, len(ids))
        if size < 2:
            raise DataError(
                f"candidates: {ordered.height} rows of {len(ids)} prompts, needs at least 2 "
                "candidates a prompt (sample.n_candidates); rerun sample"
            )
        text_of = dict(prompts.select("prompt_id", "prompt").iter_rows())
        if strangers := [name for name in ids if name not in text_of]:
            raise DataError(
                f"candidates: prompt {strangers[0]} and {len(strangers) - 1} others are not in "
                "prompts; both must come from one run of prepare: rerun sample"
            )
        flat = ordered["response"].to_list()
        per_token = (ordered["logprob"] / ordered["n_tokens"]).to_numpy().astype(np.float64)
        return cls(
            prompt_ids=ids,
            prompts=[text_of[name] for name in ids],
            responses=[flat[start : start + size] for start in range(0, len(flat), size)],
            logprob_per_token=per_token.reshape(len(ids), size),
        )

    @property
    def n_candidates(self) -> int:
        """N."""
        return len(self.responses[0])

    def take(self, rows: IndexArray) -> Pool:
        """The pools of some of the prompts."""
        return Pool(
            prompt_ids=[self.prompt_ids[row] for row in rows],
            prompts=[self.prompts[row] for row in rows],
            responses=[self.responses[row] for row in rows],
            logprob_per_token=self.logprob_per_token[rows],
        )

    def rows_of(self, prompt_ids: Sequence[str], table: str) -> IndexArray:
        """The row of each prompt, (len(prompt_ids),).

        Raises:
            DataError: A prompt has no pool; `table` is where it was named.
        """
        place = {name: row for row, name in enumerate(self.prompt_ids)}
        try:
            return np.array([place[name] for name in prompt_ids], dtype=np.int64)
        except KeyError as error:
            raise DataError(
                f"{table}: prompt {error} has no candidates; both must come from one run of "
                "sample: rerun won_select"
            ) from None


def judge_pool(judge: Judge, pool: Pool) -> FloatArray:
    """The judge's reward of every candidate, (P, N)."""
    size = pool.n_candidates
    ids = [name for name in pool.prompt_ids for _ in range(size)]
    prompts = [prompt for prompt in pool.prompts for _ in range(size)]
    flat = [response for responses in pool.responses for response in responses]
    return judge.rewards(ids, prompts, flat).reshape(-1, size)


def score_pool(model: str, ensemble: Ensemble, pool: Pool) -> FloatArray:
    """A pointwise model's raw reward of every candidate, (P, N); of several the mean.

    Raises:
        ModelError: The model is pairwise, or a reward is NaN or infinite.
    """
    ensemble.require_pointwise("best-of-n")
    rewards = mean_rewards(ensemble, pool.prompts, pool.responses).double().numpy()
    require_finite(model, "candidates", rewards)
    return rewards


def pool_scores(model: str, pool: Pool, rewards: FloatArray) -> pl.DataFrame:
    """Table POOL_SCORES of rewards (P, N)."""
    prompts, size = rewards.shape
    columns = {
        "prompt_id": np.repeat(pool.prompt_ids, size).tolist(),
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


def draw_pairs(pool: Pool, per_prompt: int, seed: int, purpose: str) -> PoolPairs:
    """Random pairs without replacement; all N(N − 1)/2 of them where `per_prompt` is no fewer.

    A prompt's pairs follow from (seed, purpose, prompt_id) alone, whatever its neighbours.
    """
    first, second = np.triu_indices(pool.n_candidates, k=1)
    shape = (len(pool.prompt_ids), min(per_prompt, len(first)))
    if per_prompt >= len(first):
        return PoolPairs(np.broadcast_to(first, shape), np.broadcast_to(second, shape))
    seeds = (derive_seed(seed, purpose, name) for name in pool.prompt_ids)
    drawn = np.stack(
        [np.random.default_rng(s).choice(len(first), per_prompt, replace=False) for s in seeds]
    )
    return PoolPairs(first[drawn], second[drawn])


def require_finite(model: str, rows: str, values: FloatArray) -> None:
    """Refuse a model that answers with NaN or infinity."""
    if bad := int((~np.isfinite(values)).sum()):
        raise ModelError(
            f"model {model}: {bad} of {values.size} rewards of {rows} are NaN or infinite; its "
            "training diverged: lower its learning_rate and rerun the stage that wrote it"
        )
