"""A linear reward head on frozen features, with the covariance of the policy's samples as prior.

r(x, y) = w·φ(x, y) with w ~ N(0, s·Σ_π^p). φ is the input of an untrained model's reward head, and
Σ_π is the covariance of candidates around the mean of their pool. The calibrated loss on validation
pairs chooses penalty and power. docs/method.md has the equation.
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
    FittingPairs,
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
"""Largest number of candidates for the covariance; 4096 features then take half a GiB."""


@dataclass(frozen=True)
class LinearHead:
    """Configuration of a linear head.

    Attributes:
        powers: Powers p of the prior to try; (0,) is a plain ridge penalty.
        samples: Pools of the policy; only powers above 0 need them.
        files: Files from which the samples were read.
    """

    powers: tuple[float, ...] = (0.0,)
    samples: Pools | None = None
    files: list[Path] = field(default_factory=list)

    @classmethod
    def with_prior(
        cls, candidates: Path, prompts: pl.DataFrame, powers: tuple[float, ...] = POWERS
    ) -> LinearHead:
        """Return a head with the covariance prior of the samples in a table candidates."""
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
        """Return the head of a student with this learner and prior power; None for a network."""
        if learner == "network":
            return None
        powers = POWERS if power == "validation" else (power,)
        return cls.with_prior(candidates, prompts, powers) if any(powers) else cls()

    @classmethod
    def of_reference(cls, learner: str) -> LinearHead | None:
        """Return a head like the student's but without the prior; None for a network."""
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
    """Fit a pointwise head on frozen features of the model in which reward models start.

    Features are divided by their standard deviation over the texts of human training and validation
    pairs; the returned head includes the division. Constant features get weight 0. Like a trained
    network, the head is scaled by calibration on the validation pairs.

    Args:
        name: Name of the arm in error messages.
        pairs: Training and validation pairs; validation pairs choose penalty and power.
        linear: Configuration of the head: powers and samples.
        recipe: Start model, and parameters, of which read-out and loss are used.
        runtime: Hardware settings.

    Raises:
        ModelError: The start model cannot be loaded, or the limits exceed its positions.
        ParameterError: The loss is not a cross-entropy, so a linear head cannot be fitted to it.
        TrainingError: A set has no pair within the limits, a power lacks samples, all candidates of
            every pool have equal features, or a feature is not finite.
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
        **counts([part.fitting for part in sets], validation.fitting, origin.encoder),
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
    """Pairs, and features (pairs, 2, width) of those that fit."""

    fitting: FittingPairs
    features: Tensor

    @property
    def rows(self) -> Preferences:
        """The pairs that fit."""
        return self.fitting.rows


def _read(name: str, reader: FeatureReader, pairs: Preferences, what: str) -> _Featured:
    fitting = fitting_pairs(name, reader.scorer.encoder, pairs, what)
    rows = fitting.rows
    both = [list(pair) for pair in zip(rows.chosen, rows.rejected, strict=True)]
    return _Featured(fitting, _finite(name, reader.pools(rows.prompts, both), what))


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
    """Return at most `most` candidates: smaller pools, and fewer pools if necessary."""
    each = min(pools.n_candidates, max(2, most // len(pools.prompts)))
    return pools.head(max(1, most // each)).cut(each)


def _roots(
    name: str, linear: LinearHead, reader: FeatureReader, scale: Tensor
) -> tuple[dict[float, Tensor], int]:
    """Return power -> root of the prior's covariance, and the number of candidates used."""
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
            f"{name}: all candidates of every pool have equal features, so their covariance is "
            "zero; raise sample.temperature, or set student_rm.covariance_power to 0"
        )
    roots = identity | prior_roots(covariance, [power for power in linear.powers if power])
    chosen = {power: roots[power] for power in linear.powers}
    return chosen, sum(map(len, samples.responses))


def _differences(features: Tensor) -> Tensor:
    """Return chosen minus rejected of features (pairs, 2, width)."""
    return features[:, 0] - features[:, 1]


def _finite(name: str, features: Tensor, what: str) -> Tensor:
    if not bool(features.isfinite().all()):
        raise TrainingError(
            f"{name}: features of {what} are not finite; needs another reward_start.model, or "
            "sft.precision fp32"
        )
    return features
