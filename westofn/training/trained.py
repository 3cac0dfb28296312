"""A trained reward model: its calibration, and the facts of its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from westofn.artifacts.curve import Point
from westofn.core.calibration import calibrated_loss, calibrating_scale
from westofn.core.metrics import accuracy
from westofn.execution.account import Limit
from westofn.models.reward import RewardModel, Scorer, with_reward_statistics
from westofn.models.scoring import ROWS_A_BATCH, score_pools
from westofn.networks.adapters import Facts
from westofn.text.encoding import Encoder
from westofn.training.batches import sample_rows
from westofn.training.pairs import FittingPairs, Preferences

STATISTICS_PAIRS = 512
"""Training pairs whose rewards give a model's mean and standard deviation, at most."""


@dataclass(frozen=True)
class TrainedReward:
    """A trained reward model, facts for its card and metrics, and the curve of its training."""

    scorer: Scorer
    facts: Facts
    curve: list[Point] = field(default_factory=list)


def counts(sets: Sequence[FittingPairs], validation: FittingPairs, encoder: Encoder) -> Facts:
    """Numbers of pairs for a card, see `stage_accounts.reward_model_account`.

    Args:
        sets: The human pairs, and the synthetic ones where there are any.
        validation: The validation pairs.
        encoder: The encoder of the model.
    """
    limit = encoder.template.max_response_tokens
    return {
        "human_pairs": len(sets[0].rows),
        "human_dropped_too_long": sets[0].dropped,
        "synthetic_pairs": sum(len(part.rows) for part in sets[1:]),
        "synthetic_dropped_too_long": sum(part.dropped for part in sets[1:]),
        "validation_pairs": len(validation.rows),
        "validation_dropped_too_long": validation.dropped,
        "prompts_trimmed": sum(sum(encoder.trims(part.rows.prompts)) for part in sets),
        "max_response_tokens": limit,
        # Of human pairs: synthetic ones follow the limit.
        "response_tokens_for_95_percent": Limit.of(limit, sets[0].lengths).for_most,
    }


def calibrated(
    model: RewardModel, encoder: Encoder, margins: Tensor, human: Preferences, seed: int
) -> tuple[Scorer, dict[str, float]]:
    """The model scaled to its margins of validation pairs, with statistics of its rewards.

    Args:
        model: A trained model; it is scaled in place.
        encoder: How the model reads text.
        margins: (pairs,), margins of validation pairs.
        human: The training pairs whose rewards RL standardises by; of more than STATISTICS_PAIRS
            a sample is read.
        seed: The run's seed.

    Returns:
        The scorer, and facts for its card.
    """
    scale = calibrating_scale(margins)
    model.rescale(scale)
    scorer = Scorer(model, encoder)
    facts = {
        "temperature": float(f"{1 / scale:.4g}"),
        "validation_accuracy": round(accuracy(margins.numpy()), 4),
        "validation_calibrated_loss": round(calibrated_loss(margins), 4),
    }
    if not model.comparator.gives_rewards:
        return scorer, facts
    rows = sample_rows(len(human), STATISTICS_PAIRS, seed, "reward statistics")
    return with_reward_statistics(scorer, _rewards(scorer, human.take(rows))), facts


def _rewards(scorer: Scorer, pairs: Preferences) -> Tensor:
    """The head's first output for both responses of every pair; a prompt is read once for both."""
    pools = list(zip(pairs.chosen, pairs.rejected, strict=True))
    return torch.cat(score_pools(scorer, pairs.prompts, pools, ROWS_A_BATCH))[:, 0]
