"""Reward models that differ in their seed alone, read as one: the mean of their outputs.

How far they differ measures how uncertain the base model is (Coste et al. 2023, arXiv 2310.02743).
A single model is an ensemble of one, and answers as it does alone. The folder of several holds
`member-0`, `member-1`, … and ensemble.json; that of one is the model's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from westofn.core.comparators import Comparator
from westofn.errors import ModelError
from westofn.models.card import member_folders
from westofn.models.reward import Scorer
from westofn.models.saved_reward import load_reward_model
from westofn.models.scoring import pair_margins, score_pools
from westofn.text.encoding import Encoder


@dataclass(frozen=True)
class Ensemble:
    """Reward models of one comparator that read text alike.

    Attributes:
        members: The models, at least one.

    Raises:
        ModelError: There is no member, or members differ in comparator or template.
    """

    members: tuple[Scorer, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise ModelError("an ensemble of 0 reward models, needs at least 1")
        for index, member in enumerate(self.members):
            if member.comparator is not self.comparator:
                raise ModelError(
                    f"member {index} of an ensemble is {member.comparator.name}, member 0 is "
                    f"{self.comparator.name}; members differ in seed alone: rerun base_rm"
                )
            if member.encoder.template != self.encoder.template:
                raise ModelError(
                    f"member {index} of an ensemble has another tokenizer or other limits than "
                    "member 0; members differ in seed alone: rerun base_rm"
                )

    @classmethod
    def of(cls, *members: Scorer) -> Ensemble:
        """The ensemble of these members."""
        return cls(members)

    @property
    def comparator(self) -> Comparator:
        """The members' comparator."""
        return self.members[0].comparator

    @property
    def encoder(self) -> Encoder:
        """An encoder that reads text as every member does."""
        return self.members[0].encoder

    def require_pointwise(self, purpose: str) -> None:
        """Refuse pairwise models where a reward for one response is needed."""
        self.members[0].require_pointwise(purpose)


@dataclass(frozen=True)
class Anchor:
    """The first round's base model, which judges beside the student that labels a later round.

    Reinforcement learning has optimised the policy against that student, and not against this
    model. `westofn.core.rounds.anchored` weights the margins of both.

    Attributes:
        model: The base model, with any comparator.
        weight: The share of its margins, in [0, 1]; the student's have the rest.
    """

    model: Ensemble
    weight: float


def load_anchor(base: Path, weight: float, device: torch.device | str = "cpu") -> Anchor | None:
    """The first round's base model as an anchor; None where it has no weight.

    Raises:
        ModelError: See `load_reward_models`.
    """
    return Anchor(load_reward_models(base, device), weight) if weight else None


def load_reward_models(folder: Path, device: torch.device | str = "cpu") -> Ensemble:
    """The members of an ensemble's folder, or the single model of a model's.

    Raises:
        ModelError: A member is missing or damaged, or the members do not belong together.
    """
    return Ensemble.of(*(load_reward_model(member, device) for member in member_folders(folder)))


def mean_pair_margins(
    ensemble: Ensemble, prompts: Sequence[str], chosen: Sequence[str], rejected: Sequence[str]
) -> Tensor:
    """Mean over the members of margin(chosen, rejected), (rows,) fp32 on the CPU."""
    margins = [pair_margins(member, prompts, chosen, rejected) for member in ensemble.members]
    return torch.stack(margins).mean(0)


def mean_rewards(
    ensemble: Ensemble, prompts: Sequence[str], pools: Sequence[Sequence[str]]
) -> Tensor:
    """Mean over pointwise members of the raw reward, (P, N) fp32 on the CPU.

    Args:
        ensemble: Pointwise models.
        prompts: P prompts.
        pools: N candidates for each prompt.

    Raises:
        ModelError: The members are pairwise.
    """
    ensemble.require_pointwise("a reward of each response")
    rewards = [
        torch.stack(score_pools(member, prompts, pools))[..., 0] for member in ensemble.members
    ]
    return torch.stack(rewards).mean(0)
