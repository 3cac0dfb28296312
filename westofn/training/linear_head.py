"""A linear reward head on frozen features, with the covariance of the policy's samples as a prior.

r(x, y) = w·φ(x, y) with w ~ N(0, s·Σ_π^p): φ is what the reward head of an untrained model reads,
Σ_π the covariance of candidates around the mean of their pool. Penalty and power are chosen by the
calibrated loss of validation pairs. docs/method.md has the equation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import polars as pl
import torch
from torch import Tensor

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.curve import Point
from westofn.artifacts.pools import Pools
from westofn.core.linear_reward import (
    POWERS,
    LinearReward,
    balanced_shares,
    fit_by_validation,
    inverse_spread,
    prior_roots,
    with_soft_labels,
    within_pool_covariance,
)
from westofn.errors import TrainingError
from westofn.models.features import FeatureReader
from westofn.models.reward import RewardModel, Scorer
from westofn.models.scoring import pair_margins
from westofn.networks.adapters import Facts
from westofn.params.reward import RewardModelParams
from westofn.runtime import Runtime, set_up_torch
from westofn.training.losses import loss_of, loss_settings, targets_of
from westofn.training.preference import (
    Preferences,
    Recipe,
    TrainedReward,
    TrainingPairs,
    calibrated,
    counts,
    fitting_pairs,
    start_facts,
)
from westofn.training.start import reward_start

MOST_SAMPLES = 2**14
"""Candidates that the covariance is taken of: features of 4096 numbers are then half a GiB."""


@dataclass(frozen=True)
class LinearHead:
    """What a linear head needs beside its pairs.

    Attributes:
        powers: The prior's powers p to try; (0,) is a plain ridge penalty.
        samples: Pools of the policy; only powers above 0 need them.
        files: What they were read from.
    """

    powers: tuple[float, ...] = (0.0,)
    samples: Pools | None = None
    files: list[Path] = field(default_factory=list)

    @classmethod
    def with_prior(
        cls, candidates: Path, prompts: pl.DataFrame, powers: tuple[float, ...] = POWERS
    ) -> LinearHead:
        """With the covariance of the samples in a table candidates."""
        pools = Pools.from_frames(CANDIDATES.read(candidates), prompts)
        return cls(powers, pools, [candidates])

    @classmethod
    def of_student(
        cls,
        learner: str,
        power: Literal["validation"] | float,
        candidates: Path,
        prompts: pl.DataFrame,
    ) -> LinearHead | None:
        """What `student_rm` asks for; None where a network learns."""
        if learner == "network":
            return None
        powers = POWERS if power == "validation" else (power,)
        return cls.with_prior(candidates, prompts, powers) if any(powers) else cls()

    @classmethod
    def of_reference(cls, learner: str) -> LinearHead | None:
        """The student's learner without its prior; None where a network learns."""
        return None if learner == "network" else cls()


def linear_params(section: RewardModelParams, learner: str) -> RewardModelParams:
    """The section `student_rm` for an arm that is a linear head whatever the student is.

    Where the student is a network, its loss may be one that no linear head is fitted to: such an
    arm has Bradley–Terry's then.
    """
    if learner == "linear_head":
        return section
    return section.model_copy(update={"loss": "bradley_terry"})


def train_linear_head(
    name: str, pairs: TrainingPairs, linear: LinearHead, recipe: Recipe, runtime: Runtime
) -> TrainedReward:
    """Fit a pointwise head on the frozen weights from which a reward model would be trained.

    Features are divided by their standard deviation over the texts of human training and validation
    pairs, and the head that is returned holds that division. Those that are constant there get no
    weight. As of a trained network, the head is scaled to the validation pairs.

    Args:
        name: The arm's name, for errors.
        pairs: What it learns from; validation pairs choose penalty and power.
        linear: Powers to try, and samples of the policy.
        recipe: Where it starts; of its parameters the readout and the loss are read.
        runtime: Hardware settings.

    Raises:
        ModelError: The start cannot be loaded, or its positions end before the limits.
        ParameterError: The loss is no cross-entropy, to whose targets a head can be fitted.
        TrainingError: A set has no pair that fits, a power lacks samples, all candidates of every
            pool are alike, or a feature is not finite.
    """
    origin = reward_start(recipe.start, recipe.policy, "pointwise", recipe.seed, adapted=True)
    model = RewardModel(origin.model, "pointwise", 0, recipe.params.readout)
    model.finish(origin.precision)
    model.to(set_up_torch(runtime)).eval()
    reader = FeatureReader(origin.model, origin.encoder, recipe.params.readout)
    reader.scorer.model.to(model.device)
    features = partial(_read, name, reader)
    human = features(pairs.human, "human training pairs")
    validation = features(pairs.validation, "validation pairs")
    scale = inverse_spread(torch.cat([human.features, validation.features]).flatten(0, 1))
    sets = [human]
    if pairs.synthetic is not None and pairs.synthetic_fraction:
        sets.append(features(pairs.synthetic, "synthetic pairs"))
    differences, shares = _labelled(name, sets, scale, pairs.synthetic_fraction, recipe)
    roots, samples = _roots(name, linear, reader, scale)
    fitted = fit_by_validation(
        differences, _differences(validation.features) * scale, shares=shares, roots=roots
    )
    with torch.no_grad():
        model.head.weight[0] = (fitted.weights * scale).to(model.head.weight)
    held_out = validation.rows
    margins = pair_margins(
        Scorer(model, origin.encoder), held_out.prompts, held_out.chosen, held_out.rejected
    )
    scorer, calibration = calibrated(model, origin.encoder, margins, human.rows)
    facts: Facts = {
        "learner": "linear_head",
        **counts([part.rows for part in sets], [part.dropped for part in sets]),
        "covariance_power": fitted.power,
        "covariance_candidates": samples,
        "penalty": float(f"{fitted.penalty:.4g}"),
    }
    return TrainedReward(scorer, facts | calibration | start_facts(recipe), _curve(fitted))


def _curve(fitted: LinearReward) -> list[Point]:
    """The calibrated validation loss of every penalty, from the largest; a power is a course."""
    penalties = sorted({fit.penalty for fit in fitted.tried}, reverse=True)
    return [
        {
            "power": fit.power,
            "split": "validation",
            "step": penalties.index(fit.penalty) + 1,
            "loss": fit.validation_loss,
            "penalty": fit.penalty,
        }
        for fit in fitted.tried
    ]


@dataclass(frozen=True)
class _Featured:
    """Pairs that fit, how many do not, and features (pairs, 2, width) of those that do."""

    rows: Preferences
    dropped: int
    features: Tensor


def _read(name: str, reader: FeatureReader, pairs: Preferences, what: str) -> _Featured:
    rows, dropped = fitting_pairs(name, reader.scorer.encoder, pairs, what)
    both = [list(pair) for pair in zip(rows.chosen, rows.rejected, strict=True)]
    return _Featured(rows, dropped, _finite(name, reader.pools(rows.prompts, both), what))


def _labelled(
    name: str, sets: list[_Featured], scale: Tensor, synthetic_fraction: float, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """Differences of features and their shares in the loss, with the loss's targets as labels."""
    sizes = [len(part.rows) for part in sets]
    shares = (
        torch.ones(sizes[0], dtype=torch.float64)
        if len(sets) == 1
        else balanced_shares(sizes[0], sizes[1], synthetic_fraction)
    )
    loss, settings = loss_of(recipe.params, name), loss_settings(recipe.params)
    target = targets_of(loss, recipe.params, name)
    return with_soft_labels(
        torch.cat([_differences(part.features) * scale for part in sets]),
        shares,
        [target(p, settings) for part in sets for p in part.rows.labels(loss)],
    )


def bounded(pools: Pools, most: int = MOST_SAMPLES) -> Pools:
    """At most so many candidates: fewer of every pool, and two of fewer pools if need be."""
    each = min(pools.n_candidates, max(2, most // len(pools.prompts)))
    return pools.head(max(1, most // each)).cut(each)


def _roots(
    name: str, linear: LinearHead, reader: FeatureReader, scale: Tensor
) -> tuple[dict[float, Tensor], int]:
    """Roots of the prior's covariance by power, and how many candidates they were taken of."""
    identity = {0.0: torch.eye(len(scale), dtype=torch.float64)}
    if not any(linear.powers):
        return identity, 0
    if linear.samples is None:
        raise TrainingError(
            f"{name}: a covariance prior needs samples of the policy; give candidates, or power 0"
        )
    samples = bounded(linear.samples)
    features = _finite(name, reader.pools(samples.prompts, samples.responses), "candidates")
    covariance = within_pool_covariance(features * scale)
    if not float(covariance.trace()) > 0:
        raise TrainingError(
            f"{name}: all candidates of every pool have the same features, so that they prefer no "
            "direction; raise sample.temperature, or set student_rm.covariance_power to 0"
        )
    roots = identity | prior_roots(covariance, [power for power in linear.powers if power])
    chosen = {power: roots[power] for power in linear.powers}
    return chosen, sum(map(len, samples.responses))


def _differences(features: Tensor) -> Tensor:
    """(pairs, 2, width) features of chosen and rejected -> their differences."""
    return features[:, 0] - features[:, 1]


def _finite(name: str, features: Tensor, what: str) -> Tensor:
    if not bool(features.isfinite().all()):
        raise TrainingError(
            f"{name}: features of {what} are not finite; needs another reward_start.model, or "
            "sft.precision fp32"
        )
    return features
