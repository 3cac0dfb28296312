"""Judges of single responses: the gold annotator of the embedded world, or an autorater.

Best-of-n and RL are measured by rewards that do not come from the model that they optimise. The
embedded world has gold rewards; on other data the paper's autorater takes their place: a reward
model trained on preferences that no other model sees (arXiv 2401.12086, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from westofn.artifacts.world import WORLD
from westofn.models.reward import Scorer
from westofn.models.saved_reward import load_reward_model
from westofn.models.scoring import score_pools
from westofn.sources.world.gold import Gold

FloatArray = NDArray[np.float64]
JudgeName = Literal["gold", "autorater"]

_GOLD_DIGITS = 9  # responses of equal worth must tie, in whatever order their terms were added


class RewardJudge(Protocol):
    """Gives rewards to responses, independently of the models that are evaluated.

    `westofn.judging` has the other kind: a PreferenceJudge compares two responses, to label pairs.
    """

    @property
    def name(self) -> JudgeName:
        """The judge's name in metrics."""

    def rewards(
        self, prompt_ids: Sequence[str], prompts: Sequence[str], responses: Sequence[str]
    ) -> FloatArray:
        """Rewards (rows,) of responses, one prompt a row."""

    def p_from_margins(self, margins: FloatArray) -> FloatArray:
        """Probabilities of preferring the first response, from reward differences; same shape."""


@dataclass(frozen=True)
class GoldJudge:
    """The annotator who labelled the embedded world, known exactly."""

    gold: Gold

    @classmethod
    def from_frame(cls, world: pl.DataFrame) -> GoldJudge:
        """The judge of a WORLD frame.

        Raises:
            DataError: The frame has no rows, or a row is not what `prepare` writes.
        """
        return cls(Gold.from_frame(world))

    @property
    def name(self) -> JudgeName:
        """`gold`."""
        return "gold"

    def rewards(
        self, prompt_ids: Sequence[str], prompts: Sequence[str], responses: Sequence[str]
    ) -> FloatArray:
        """Gold rewards (rows,); the facts are found by prompt id, the prompt's text is not read.

        Raises:
            DataError: A prompt is not in the world.
        """
        del prompts
        return self.gold.rewards(prompt_ids, responses).round(_GOLD_DIGITS)

    def p_from_margins(self, margins: FloatArray) -> FloatArray:
        """P* = sigmoid(margin / temperature), of differences of gold rewards."""
        return sigmoid(margins / self.gold.temperature)


@dataclass(frozen=True)
class AutoraterJudge:
    """A pointwise reward model trained on held-out preferences (split `autorater`).

    Raises:
        ModelError: The model is pairwise, so that a response has no reward of its own.
    """

    scorer: Scorer

    def __post_init__(self) -> None:
        self.scorer.require_pointwise("the autorater")

    @property
    def name(self) -> JudgeName:
        """`autorater`."""
        return "autorater"

    def rewards(
        self, prompt_ids: Sequence[str], prompts: Sequence[str], responses: Sequence[str]
    ) -> FloatArray:
        """The model's raw rewards (rows,); prompts that repeat are encoded once."""
        del prompt_ids
        rows_of: dict[str, list[int]] = {}
        for row, prompt in enumerate(prompts):
            rows_of.setdefault(prompt, []).append(row)
        pools = [[responses[row] for row in rows] for rows in rows_of.values()]
        rewards = np.empty(len(prompts))
        scored = score_pools(self.scorer, list(rows_of), pools)
        for rows, features in zip(rows_of.values(), scored, strict=True):
            rewards[rows] = features[:, 0].numpy()
        return rewards

    def p_from_margins(self, margins: FloatArray) -> FloatArray:
        """Bradley–Terry: sigmoid of the difference of rewards; uncalibrated."""
        return sigmoid(margins)


def sigmoid(margins: FloatArray) -> FloatArray:
    """1 / (1 + e^-margin) without overflow; same shape.

    >>> sigmoid(np.array([0.0, -1e4])).tolist()
    [0.5, 0.0]
    """
    result: FloatArray = torch.from_numpy(np.ascontiguousarray(margins)).sigmoid().numpy()
    return result


def margins(
    judge: RewardJudge,
    prompt_ids: Sequence[str],
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
) -> FloatArray:
    """The judge's reward of the first response less that of the second, (rows,)."""
    ids, texts = [*prompt_ids, *prompt_ids], [*prompts, *prompts]
    rewards = judge.rewards(ids, texts, [*first, *second])
    difference: FloatArray = rewards[: len(first)] - rewards[len(first) :]
    return difference


def load_judge(world: Path, autorater: Path, device: str) -> RewardJudge:
    """Gold where the world has facts, else the autorater.

    Args:
        world: Table WORLD; 0 rows where the source has no gold annotator.
        autorater: Folder of the model that was trained on held-out preferences.
        device: Where the autorater runs.
    """
    facts = WORLD.read(world)
    if facts.height:
        return GoldJudge.from_frame(facts)
    return AutoraterJudge(load_reward_model(autorater, device))
