"""A linear reward head on frozen features, with the covariance of the policy's samples as prior.

r(x, y) = w·φ(x, y) with w ~ N(0, s·Σ_π^p). φ is the input of an untrained model's reward head, and
Σ_π is the covariance of candidates around the mean of their pool. The calibrated loss on validation
pairs chooses penalty and power. docs/method.md has the equation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import polars as pl
import torch
from torch import Tensor

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.curve import Point
from westofn.artifacts.pools import Pools
from westofn.core.calibration import calibrating_scale
from westofn.core.linear_reward import (
    POWERS,
    LinearReward,
    balanced_shares,
    bootstrap_counts,
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
from westofn.params.comparator import ComparatorName
from westofn.params.reward import RewardModelParams
from westofn.runtime import Runtime, set_up_torch
from westofn.text.encoding import Encoder
from westofn.training.losses import loss_of, loss_settings, targets_of
from westofn.training.pairs import FittingPairs, Preferences, TrainingPairs, fitting_pairs
from westofn.training.recipe import Recipe, start_facts
from westofn.training.start import reward_start
from westofn.training.trained import TrainedReward, calibrated, counts

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


def train_linear_head(
    name: str,
    pairs: TrainingPairs,
    linear: LinearHead,
    recipe: Recipe,
    runtime: Runtime,
    resample: int | None = None,
) -> TrainedReward:
    """Fit a head on frozen features of the model in which reward models start; see `LinearHeads`.

    Args:
        name: Name of the arm in error messages.
        pairs: Training and validation pairs; validation pairs choose penalty and power.
        linear: Configuration of the head: powers and samples.
        recipe: Start model, and parameters, of which read-out, loss and number of validation pairs
            are used.
        runtime: Hardware settings.
        resample: See `LinearHeads.fit`.

    Raises:
        ModelError: The start model cannot be loaded, or the limits exceed its positions.
        ParameterError: The loss is not a cross-entropy, so a linear head cannot be fitted to it.
        TrainingError: A set has no pair within the limits, a power lacks samples, all candidates of
            every pool have equal features, a feature is not finite, or the comparator has planes.
    """
    return LinearHeads(name, pairs, linear, recipe, runtime).fit(resample)


class LinearHeads:
    """Frozen features of an arm's pairs, read once, on which any number of heads are fitted.

    Features are divided by their standard deviation over the texts of human training and validation
    pairs; the returned heads include the division. Constant features get weight 0. Like a trained
    network, a head is scaled by calibration on the validation pairs.

    The arguments are the first five of `train_linear_head`.
    """

    def __init__(
        self,
        name: str,
        pairs: TrainingPairs,
        linear: LinearHead,
        recipe: Recipe,
        runtime: Runtime,
    ) -> None:
        comparator = recipe.head.comparator
        if comparator == "embedding":
            raise TrainingError(
                f"{name}: a linear head fits the comparators pointwise and joint, found "
                f"{comparator}, whose planes are no linear function of features; train a network, "
                "or set the comparator to pointwise"
            )
        self.name, self.recipe = name, replace(recipe, params=_linear_params(recipe.params))
        origin = reward_start(recipe.start, recipe.policy, comparator, recipe.seed, adapted=True)
        self.backbone, self.encoder = origin.model, origin.encoder
        self._new_model().finish(origin.precision)
        on_device = self._new_model().to(set_up_torch(runtime)).eval()
        reader = FeatureReader(origin.model, origin.encoder, recipe.params.readout, comparator)
        reader.scorer.model.to(on_device.device)
        sampled = pairs.sampled(recipe.params.validation_pairs, recipe.seed)
        self.not_read = len(pairs.validation) - len(sampled.validation)
        self.read = _ReadPairs.of(name, reader, sampled)
        self.roots, self.samples = _roots(name, linear, reader, self.read.scale)

    def _new_model(self) -> RewardModel:
        params, comparator = self.recipe.params, self.recipe.head.comparator
        return RewardModel(self.backbone, comparator, 0, params.readout)

    def fit(self, resample: int | None = None) -> TrainedReward:
        """Fit a head and return the reward model.

        Args:
            resample: Seed of a bootstrap sample of the training pairs, by which the members of an
                ensemble differ; None: the pairs themselves.

        Raises:
            ParameterError: The loss is not a cross-entropy.
        """
        read, encoder, recipe = self.read, self.encoder, self.recipe
        differences, shares = read.labelled(self.name, recipe.params, resample)
        fitted = fit_by_validation(
            differences,
            _differences(read.validation.features) * read.scale,
            shares=shares,
            roots=self.roots,
        )
        model = self._new_model().to(self.backbone.device).eval()
        with torch.no_grad():
            model.head.weight[0] = (fitted.weights * read.scale).to(model.head.weight)
        held_out, human = read.validation.rows, read.sets[0].rows
        margins = pair_margins(
            Scorer(model, encoder), held_out.prompts, held_out.chosen, held_out.rejected
        )
        scorer, calibration = calibrated(model, encoder, margins, human, recipe.seed)
        facts: Facts = {
            "learner": "linear_head",
            **counts([part.fitting for part in read.sets], read.validation.fitting, encoder),
            "validation_not_read": self.not_read,
            "covariance_power": fitted.power,
            "covariance_candidates": self.samples,
            "penalty": float(f"{fitted.penalty:.4g}"),
        }
        return TrainedReward(scorer, facts | calibration | start_facts(recipe), _curve(fitted))


def _linear_params(section: RewardModelParams) -> RewardModelParams:
    """The parameters of an arm that is a linear head, whatever learner its section names.

    A section whose learner is a network may name a loss that no linear head is fitted to. A linear
    head with such a section has Bradley–Terry's loss.
    """
    if section.learner == "linear_head":
        return section
    return section.model_copy(update={"loss": "bradley_terry"})


@torch.no_grad()
def start_head(
    name: str, model: RewardModel, encoder: Encoder, pairs: TrainingPairs, runtime: Runtime
) -> None:
    """Set the rewards of a network's head to a linear head on its features before training.

    The head is fitted to Bradley-Terry's loss and scaled to calibrated margins. It gives the texts
    of the training pairs a mean reward of 0, which `centering` asks for. Planes stay as they are.

    Args:
        name: Name of the arm in error messages.
        model: The network before training; its head is changed in place.
        encoder: Encoder of the model.
        pairs: Training and validation pairs.
        runtime: Hardware settings.

    Raises:
        TrainingError: A set has no pair within the limits, or a feature is not finite.
    """
    model.to(set_up_torch(runtime))
    comparator: ComparatorName = "joint" if model.comparator.reads_pairs else "pointwise"
    reader = FeatureReader(model.backbone, encoder, model.readout, comparator)
    reader.scorer.model.to(model.device)
    read = _ReadPairs.of(name, reader, pairs)
    texts = torch.cat([part.features for part in read.sets]).flatten(0, 1) * read.scale
    mean = texts.mean(0)
    across = torch.eye(len(mean), dtype=mean.dtype) - torch.outer(mean, mean) / mean.square().sum()
    held_out = _differences(read.validation.features) * read.scale
    differences = torch.cat([_differences(part.features) * read.scale for part in read.sets])
    fitted = fit_by_validation(differences, held_out, shares=read.shares(), roots={0.0: across})
    weights = fitted.weights * calibrating_scale(held_out @ fitted.weights)
    model.head.weight[0] = (weights * read.scale).to(model.head.weight)


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
    features = reader.pairs(rows.prompts, rows.chosen, rows.rejected)
    return _Featured(fitting, _finite(name, features, what))


@dataclass(frozen=True)
class _ReadPairs:
    """Features of an arm's pairs.

    Attributes:
        sets: The human pairs, and the synthetic ones where there are any.
        validation: The validation pairs.
        scale: (width,), by which features are multiplied before a fit.
        synthetic_fraction: Share of the synthetic pairs in the loss.
    """

    sets: list[_Featured]
    validation: _Featured
    scale: Tensor
    synthetic_fraction: float

    @classmethod
    def of(cls, name: str, reader: FeatureReader, pairs: TrainingPairs) -> _ReadPairs:
        human = _read(name, reader, pairs.human, "human training pairs")
        validation = _read(name, reader, pairs.validation, "validation pairs")
        scale = inverse_spread(torch.cat([human.features, validation.features]).flatten(0, 1))
        sets = [human]
        if pairs.synthetic is not None and pairs.synthetic_fraction:
            sets.append(_read(name, reader, pairs.synthetic, "synthetic pairs"))
        return cls(sets, validation, scale, pairs.synthetic_fraction)

    def shares(self) -> Tensor:
        """Weights of the training pairs in the loss, set after set."""
        sizes = [len(part.rows) for part in self.sets]
        if len(sizes) == 1:
            return torch.ones(sizes[0], dtype=torch.float64)
        return balanced_shares(sizes[0], sizes[1], self.synthetic_fraction)

    def labelled(
        self, name: str, params: RewardModelParams, resample: int | None
    ) -> tuple[Tensor, Tensor]:
        """Differences of features and their shares in the loss, with its targets as labels."""
        shares = self.shares()
        if resample is not None:
            generator = torch.Generator().manual_seed(resample % 2**63)
            drawn = [bootstrap_counts(len(part.rows), 1, generator)[0] for part in self.sets]
            shares = shares * torch.cat(drawn)
        loss, settings = loss_of(params, name), loss_settings(params)
        target = targets_of(loss, params, name)
        return with_soft_labels(
            torch.cat([_differences(part.features) * self.scale for part in self.sets]),
            shares,
            [target(p, settings) for part in self.sets for p in part.rows.labels(loss)],
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
