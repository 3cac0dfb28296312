"""Pairs of the policy's own responses, labelled by the gold annotator (embedded world only).

Held-out human pairs come from other writers than the policy. Best-of-n and RL ask the reward model
about the policy's responses, and so does this set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from westofn.artifacts.pools import IndexArray, Pools
from westofn.core import metrics
from westofn.core.seeds import derive_seed
from westofn.evaluation.by_prompt import by_prompt
from westofn.evaluation.candidate_rewards import draw_pairs
from westofn.evaluation.judges import FloatArray
from westofn.evaluation.pairs import PairRewards, pair_scores
from westofn.evaluation.records import Record, with_interval

PAIRS_PER_PROMPT = 8


@dataclass(frozen=True)
class OnPolicyPairs:
    """Random pairs of candidates in the order that the gold annotator prefers.

    Attributes:
        pairs: Columns pair_id, prompt_id, prompt, chosen, rejected.
        row: (pairs,), the row in the pools of each pair's prompt.
        chosen: (pairs,), candidate_index of the chosen response.
        rejected: (pairs,), candidate_index of the rejected one.
        ties: Drawn pairs that were left out, for gold has no preference.
    """

    pairs: pl.DataFrame
    row: IndexArray
    chosen: IndexArray
    rejected: IndexArray
    ties: int

    def from_pools(self, rewards: FloatArray) -> PairRewards:
        """What a pointwise model says, from its rewards (P, N) of the pools."""
        chosen, rejected = rewards[self.row, self.chosen], rewards[self.row, self.rejected]
        return PairRewards(chosen - rejected, chosen, rejected)


@dataclass(frozen=True)
class OnPolicyEvaluation:
    """One model on on-policy pairs.

    Attributes:
        metrics: Flat.
        scores: Table PAIR_SCORES, set `on_policy`.
        by_prompt: Table PROMPT_MEASURES, on_policy_accuracy.
    """

    metrics: Record
    scores: pl.DataFrame
    by_prompt: pl.DataFrame


def on_policy_pairs(
    pools: Pools, gold: FloatArray, *, seed: int, per_prompt: int = PAIRS_PER_PROMPT
) -> OnPolicyPairs:
    """Draw pairs of every prompt's pool and label them by the sign of the gold difference.

    The label is gold's preference without annotator noise. The draw depends on seed and prompt
    only, so all models see the same pairs.

    Args:
        pools: P prompts with N candidates.
        gold: (P, N) gold rewards, see `judge_pools`.
        seed: The run's seed.
        per_prompt: Pairs drawn a prompt, before ties are left out.
    """
    drawn = draw_pairs(pools, per_prompt, seed, "on_policy")
    sign = np.sign(drawn.difference(gold))
    row, column = np.nonzero(sign)
    first_wins = sign[row, column] > 0
    first, second = drawn.first[row, column], drawn.second[row, column]
    chosen, rejected = np.where(first_wins, first, second), np.where(first_wins, second, first)
    rows = [
        (
            f"{pools.prompt_ids[p]}-{a}-{b}",
            pools.prompt_ids[p],
            pools.prompts[p],
            pools.responses[p][a],
            pools.responses[p][b],
        )
        for p, a, b in zip(row, chosen, rejected, strict=True)
    ]
    columns = ("pair_id", "prompt_id", "prompt", "chosen", "rejected")
    pairs = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String()), orient="row")
    return OnPolicyPairs(pairs, row, chosen, rejected, int((sign == 0).sum()))


def evaluate_on_policy(
    model: str, scored: PairRewards, drawn: OnPolicyPairs, *, seed: int
) -> OnPolicyEvaluation:
    """Accuracy on gold-labelled pairs of policy responses, its 95 % bootstrap over prompts.

    Args:
        model: Its name in the table of scores.
        scored: The model's answers, from `score_pairs` or `OnPolicyPairs.from_pools`.
        drawn: The pairs, at least one.
        seed: The run's seed; every model is resampled alike.
    """
    pairs = drawn.pairs
    right = metrics.correctness(scored.margin)
    interval = metrics.bootstrap_interval(
        right,
        pairs["prompt_id"].to_numpy(),
        seed=derive_seed(seed, "eval", "on_policy"),
    )
    return OnPolicyEvaluation(
        metrics={
            **with_interval("on_policy_accuracy", interval),
            "on_policy_pairs": pairs.height,
            "on_policy_ties": drawn.ties,
        },
        scores=pair_scores(model, "on_policy", pairs, scored),
        by_prompt=by_prompt(model, "on_policy_accuracy", pairs["prompt_id"].to_list(), right),
    )
