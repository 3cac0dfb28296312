"""A linear reward head on frozen features, with the covariance of the policy's samples as prior.

r(x, y) = w·φ(x, y) with w ~ N(0, s·Σ_π^p). φ is the input of an untrained model's reward head, and
Σ_π is the covariance of candidates around the mean of their pool. The calibrated loss on validation
pairs chooses penalty and power. docs/method.md has the equation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl
import torch
from torch import Tensor

from westofn.artifacts.candidates import CANDIDATES
from westofn.core.linear_reward import (
    POWERS,
    balanced_shares,
    fit_by_validation,
    inverse_spread,
    prior_roots,
    with_soft_labels,
    within_pool_covariance,
)
from westofn.errors import DataError, TrainingError
from westofn.models.features import FeatureReader
from westofn.models.reward import RewardModel, Scorer
from westofn.models.scoring import pair_margins
from westofn.params.network import Readout
from westofn.params.reward_start import RewardStartParams
from westofn.runtime import Runtime, set_up_torch
from westofn.training.preference import Preferences, TrainedReward, calibrated, fitting_pairs
from westofn.training.start import reward_start

MOST_SAMPLES = 2**14
"""Largest number of candidates for the covariance; 4096 features then take half a GiB."""


@dataclass(frozen=True)
class Samples:
    """Pools of the policy's samples.

    Attributes:
        prompts: P prompts.
        responses: Pools of the prompts, of equal size, at least two candidates.
    """

    prompts: list[str]
    responses: list[list[str]]

    @classmethod
    def read(cls, candidates: Path, prompts: pl.DataFrame) -> Samples:
        """Read the pools of a table candidates.

        Args:
            candidates: Path of the table candidates.
            prompts: Rows of table prompts.

        Raises:
            DataError: The table is empty, or a prompt is unknown.
        """
        table = CANDIDATES.read(candidates).sort("prompt_id", "candidate_index")
        joined = table.join(prompts, on="prompt_id", how="inner", maintain_order="left")
        if not joined.height or joined.height != table.height:
            raise DataError(
                f"{candidates}: {joined.height} of {table.height} candidates have a prompt of "
                "table prompts, needs all of them and at least one; rerun prepare and sample"
            )
        pools = joined.group_by("prompt_id", maintain_order=True).agg(
            pl.col("prompt").first(), "response"
        )
        return cls(pools["prompt"].to_list(), pools["response"].to_list())

    def bounded(self, most: int = MOST_SAMPLES) -> Samples:
        """Return at most `most` candidates: smaller pools, and fewer pools if necessary."""
        each = min(len(self.responses[0]), max(2, most // len(self.prompts)))
        pools = max(1, most // each)
        return Samples(self.prompts[:pools], [pool[:each] for pool in self.responses[:pools]])

    def __len__(self) -> int:
        """Number of candidates."""
        return sum(map(len, self.responses))


@dataclass(frozen=True)
class LinearHead:
    """Configuration of a linear head.

    Attributes:
        powers: Powers p of the prior to try; (0,) is a plain ridge penalty.
        samples: Samples of the policy; only powers above 0 need them.
        files: Files from which the samples were read.
    """

    powers: tuple[float, ...] = (0.0,)
    samples: Samples | None = None
    files: list[Path] = field(default_factory=list)

    @classmethod
    def with_prior(
        cls, candidates: Path, prompts: pl.DataFrame, powers: tuple[float, ...] = POWERS
    ) -> LinearHead:
        """Return a head with the covariance prior of the samples in a table candidates."""
        return cls(powers, Samples.read(candidates, prompts), [candidates])

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
    human: Preferences,
    synthetic: Preferences | None,
    validation: Preferences,
    *,
    linear: LinearHead,
    policy: Path,
    start: RewardStartParams,
    readout: Readout,
    synthetic_fraction: float,
    seed: int,
    runtime: Runtime,
) -> TrainedReward:
    """Fit a pointwise head on frozen features of the model in which reward models start.

    Features are divided by their standard deviation over the texts of human training and validation
    pairs; the returned head includes the division. Constant features get weight 0. Like a trained
    network, the head is scaled by calibration on the validation pairs.

    Args:
        name: Name of the stage in error messages.
        human: Human training pairs D_L.
        synthetic: Synthetic pairs D_L', or None.
        validation: Human pairs that choose penalty and power.
        linear: Configuration of the head: powers and samples.
        policy: Folder of the SFT policy.
        start: Section `reward_start`.
        readout: Read-out that defines the features.
        synthetic_fraction: Share of synthetic pairs in the loss.
        seed: Seed of random weights in the start model.
        runtime: Hardware settings.

    Raises:
        ModelError: The start model cannot be loaded, or the limits exceed its positions.
        TrainingError: A set has no pair within the limits, a power lacks samples, all candidates of
            every pool have equal features, or a feature is not finite.
    """
    origin = reward_start(start, policy, "pointwise", seed, adapted=True)
    model = RewardModel(origin.model, "pointwise", 0, readout)
    model.finish(origin.precision)
    model.to(set_up_torch(runtime)).eval()
    reader = FeatureReader(origin.model, origin.encoder, readout)
    reader.scorer.model.to(model.device)

    def read(pairs: Preferences, what: str) -> tuple[Preferences, int, Tensor]:
        """Return pairs within the limits, the number of others, features (pairs, 2, width)."""
        rows, dropped = fitting_pairs(name, origin.encoder, pairs, what)
        responses = [list(pair) for pair in zip(rows.chosen, rows.rejected, strict=True)]
        return rows, dropped, _finite(name, reader.pools(rows.prompts, responses), what)

    human_rows, human_dropped, human_features = read(human, "human training pairs")
    held_out, _, validation_features = read(validation, "validation pairs")
    scale = inverse_spread(torch.cat([human_features, validation_features]).flatten(0, 1))
    parts = [(human_rows, _differences(human_features) * scale)]
    synthetic_dropped = 0
    if synthetic is not None and synthetic_fraction:
        synthetic_rows, synthetic_dropped, synthetic_features = read(synthetic, "synthetic pairs")
        parts.append((synthetic_rows, _differences(synthetic_features) * scale))
    shares = (
        torch.ones(len(human_rows), dtype=torch.float64)
        if len(parts) == 1
        else balanced_shares(len(human_rows), len(parts[1][0]), synthetic_fraction)
    )
    differences, shares = with_soft_labels(
        torch.cat([part for _, part in parts]),
        shares,
        [p for rows, _ in parts for p in rows.p_chosen],
    )
    roots, samples = _roots(name, linear, reader, scale)
    fitted = fit_by_validation(
        differences, _differences(validation_features) * scale, shares=shares, roots=roots
    )
    with torch.no_grad():
        model.head.weight[0] = (fitted.weights * scale).to(model.head.weight)
    margins = pair_margins(
        Scorer(model, origin.encoder), held_out.prompts, held_out.chosen, held_out.rejected
    )
    scorer, calibration = calibrated(model, origin.encoder, margins, human_rows)
    facts: dict[str, float | int | str] = {
        "learner": "linear_head",
        "human_pairs": len(human_rows),
        "human_dropped_too_long": human_dropped,
        "synthetic_pairs": sum(len(rows) for rows, _ in parts[1:]),
        "synthetic_dropped_too_long": synthetic_dropped,
        "covariance_power": fitted.power,
        "covariance_candidates": samples,
        "penalty": float(f"{fitted.penalty:.4g}"),
        **calibration,
    }
    if start.model != "policy":
        facts["start"] = Path(start.model).name
    return TrainedReward(scorer, facts)


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
    samples = linear.samples.bounded()
    pools = _finite(name, reader.pools(samples.prompts, samples.responses), "candidates")
    covariance = within_pool_covariance(pools * scale)
    if not float(covariance.trace()) > 0:
        raise TrainingError(
            f"{name}: all candidates of every pool have equal features, so their covariance is "
            "zero; raise sample.temperature, or set student_rm.covariance_power to 0"
        )
    roots = identity | prior_roots(covariance, [power for power in linear.powers if power])
    return {power: roots[power] for power in linear.powers}, len(samples)


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
