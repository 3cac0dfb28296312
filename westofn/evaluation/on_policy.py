"""Pairs of the policy's own responses, labelled by the gold annotator (embedded world only).

Held-out human pairs come from other writers than the policy. Best-of-n and RL ask the reward model
about the policy's responses, and so does this set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from westofn.core import metrics
from westofn.core.seeds import derive_seed
from westofn.evaluation.judges import FloatArray
from westofn.evaluation.pairs import pair_scores, score_pairs
from westofn.evaluation.pools import Pool, draw_pairs
from westofn.evaluation.records import Record, with_interval
from westofn.models.reward import Scorer

PAIRS_PER_PROMPT = 8


@dataclass(frozen=True)
class OnPolicyPairs:
    """Random pairs of candidates in the order that the gold annotator prefers.

    Attributes:
        pairs: Columns pair_id, prompt_id, prompt, chosen, rejected.
        ties: Drawn pairs that were left out, for gold has no preference.
    """

    pairs: pl.DataFrame
    ties: int


@dataclass(frozen=True)
class OnPolicyEvaluation:
    """One model on on-policy pairs: flat metrics, and table PAIR_SCORES, set `on_policy`."""

    metrics: Record
    scores: pl.DataFrame


def on_policy_pairs(
    pool: Pool, gold: FloatArray, *, seed: int, per_prompt: int = PAIRS_PER_PROMPT
) -> OnPolicyPairs:
    """Draw pairs of every prompt's pool and label them by the sign of the gold difference.

    The label is gold's preference without annotator noise. The draw depends on seed and prompt
    only, so all models see the same pairs.

    Args:
        pool: P prompts with N candidates.
        gold: (P, N) gold rewards, see `judge_pool`.
        seed: The run's seed.
        per_prompt: Pairs drawn a prompt, before ties are left out.
    """
    drawn = draw_pairs(pool, per_prompt, seed, "on_policy")
    sign = np.sign(drawn.difference(gold))
    chosen = np.where(sign > 0, drawn.first, drawn.second)
    rejected = np.where(sign > 0, drawn.second, drawn.first)
    rows = [
        (f"{name}-{a}-{b}", name, pool.prompts[p], responses[a], responses[b])
        for p, (name, responses) in enumerate(zip(pool.prompt_ids, pool.responses, strict=True))
        for a, b, s in zip(chosen[p], rejected[p], sign[p], strict=True)
        if s != 0
    ]
    columns = ("pair_id", "prompt_id", "prompt", "chosen", "rejected")
    pairs = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String()), orient="row")
    return OnPolicyPairs(pairs, int((sign == 0).sum()))


def evaluate_on_policy(
    model: str, scorer: Scorer, drawn: OnPolicyPairs, *, seed: int
) -> OnPolicyEvaluation | None:
    """Accuracy on gold-labelled pairs of policy responses; None where all of them tie.

    Raises:
        ModelError: The model answers with NaN or infinity.
    """
    pairs = drawn.pairs
    if not pairs.height:
        return None
    scored = score_pairs(model, scorer, pairs)
    interval = metrics.bootstrap_interval(
        metrics.correctness(scored.margin),
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
    )
