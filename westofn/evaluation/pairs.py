"""What a model says about pairs of texts, by any comparator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from westofn.artifacts.pair_scores import PAIR_SCORES
from westofn.evaluation.candidate_rewards import require_finite
from westofn.evaluation.judges import FloatArray, sigmoid
from westofn.models.ensemble import Ensemble, mean_pair_margins, mean_rewards


@dataclass(frozen=True)
class PairRewards:
    """One model on P pairs.

    Attributes:
        margin: (P,), logit of chosen over rejected.
        reward_chosen: (P,), raw; None for a pairwise model.
        reward_rejected: (P,), raw; None for a pairwise model.
    """

    margin: FloatArray
    reward_chosen: FloatArray | None
    reward_rejected: FloatArray | None

    @property
    def p_chosen(self) -> FloatArray:
        """P(chosen ≻ rejected | x), (P,)."""
        return sigmoid(self.margin)


def score_pairs(model: str, ensemble: Ensemble, pairs: pl.DataFrame) -> PairRewards:
    """Score pairs, a frame with columns prompt, chosen, rejected, by the members' mean.

    Raises:
        ModelError: An answer is NaN or infinite.
    """
    prompts, chosen, rejected = (
        pairs[column].to_list() for column in ("prompt", "chosen", "rejected")
    )
    if not ensemble.comparator.gives_rewards:
        margin = mean_pair_margins(ensemble, prompts, chosen, rejected).double().numpy()
        require_finite(model, "pairs", margin)
        return PairRewards(margin, None, None)
    both = [list(pair) for pair in zip(chosen, rejected, strict=True)]
    rewards = mean_rewards(ensemble, prompts, both).numpy()
    require_finite(model, "pairs", rewards)
    # In float64, so that the margin is exactly the difference of the rewards that are written.
    wide = rewards.astype(np.float64)
    return PairRewards(wide[:, 0] - wide[:, 1], wide[:, 0], wide[:, 1])


def pair_scores(
    model: str, which: Literal["test", "on_policy"], pairs: pl.DataFrame, scored: PairRewards
) -> pl.DataFrame:
    """Table PAIR_SCORES of scored pairs."""
    none = [None] * pairs.height
    columns = {
        "pair_id": pairs["pair_id"],
        "set": [which] * pairs.height,
        "model": [model] * pairs.height,
        "reward_chosen": none if scored.reward_chosen is None else scored.reward_chosen,
        "reward_rejected": none if scored.reward_rejected is None else scored.reward_rejected,
        "p_chosen": scored.p_chosen,
    }
    return PAIR_SCORES.frame(columns)
