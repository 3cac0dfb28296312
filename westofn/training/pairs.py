"""Preference pairs as reward models learn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from westofn.core.losses import Loss
from westofn.errors import TrainingError
from westofn.execution.account import LIMIT, Limit
from westofn.text.encoding import Encoder
from westofn.training.batches import sample_rows


@dataclass(frozen=True)
class Preferences:
    """Pairs, row by row.

    Attributes:
        prompts: The prompts.
        chosen: The preferred responses.
        rejected: The other responses.
        p_chosen: The probability that a label is right, 1 for hard labels.
        confidence: The labeller's own probability, which losses with `reads_confidence` read; None
            where it is `p_chosen`.
    """

    prompts: list[str]
    chosen: list[str]
    rejected: list[str]
    p_chosen: list[float]
    confidence: list[float] | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def labels(self, loss: Loss) -> list[float]:
        """The probabilities that a loss reads."""
        return (self.confidence if loss.reads_confidence else None) or self.p_chosen

    def take(self, rows: Sequence[int]) -> Preferences:
        """The rows with these indices."""
        return Preferences(
            [self.prompts[i] for i in rows],
            [self.chosen[i] for i in rows],
            [self.rejected[i] for i in rows],
            [self.p_chosen[i] for i in rows],
            None if self.confidence is None else [self.confidence[i] for i in rows],
        )


@dataclass(frozen=True)
class TrainingPairs:
    """The pairs of an arm.

    Attributes:
        human: The human pairs, D_L.
        synthetic: The synthetic pairs, D_L', or None.
        validation: Human pairs that pick checkpoints and temperature.
        synthetic_fraction: The share of synthetic pairs in every batch, where there are any; 0
            trains on human pairs alone.
    """

    human: Preferences
    synthetic: Preferences | None
    validation: Preferences
    synthetic_fraction: float = 0.5

    def sampled(self, most: int, seed: int) -> TrainingPairs:
        """With at most so many validation pairs, a random sample of more."""
        rows = sample_rows(len(self.validation), most, seed, "validation pairs")
        return replace(self, validation=self.validation.take(rows))


@dataclass(frozen=True)
class FittingPairs:
    """Pairs whose responses both fit, out of some pairs.

    Attributes:
        rows: The pairs that fit.
        lengths: Tokens of the longer response of each pair, of all pairs.
    """

    rows: Preferences
    lengths: list[int]

    @property
    def dropped(self) -> int:
        """Number of pairs that do not fit."""
        return len(self.lengths) - len(self.rows)


def fitting_pairs(name: str, encoder: Encoder, pairs: Preferences, what: str) -> FittingPairs:
    """Find the pairs whose responses both fit.

    Args:
        name: Name of the arm in error messages.
        encoder: The encoder of the model.
        pairs: Pairs, at least one.
        what: Name of the pairs in error messages.

    Raises:
        TrainingError: There are no pairs, or none fits.
    """
    if not len(pairs):
        raise TrainingError(
            f"{name}: there are no {what} in preferences.parquet, needs at least 1; rerun the "
            "stage that writes them"
        )
    limit = encoder.template.max_response_tokens
    sides = map(encoder.response_lengths, (pairs.chosen, pairs.rejected))
    lengths = list(map(max, *sides))
    rows = [index for index, length in enumerate(lengths) if length <= limit]
    if not rows:
        raise TrainingError(
            f"{name}: none of {len(pairs)} {what} fits {LIMIT} {limit}; "
            f"raise it: {Limit.of(limit, lengths).for_most} keeps 95 % of them"
        )
    return FittingPairs(pairs.take(rows), lengths)
