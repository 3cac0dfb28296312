"""The loss that a recipe names is the one that is trained on, with the labels that it reads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from tests.small_models import reward_params, start_params
from tests.training.planted import planted_pairs
from westofn.core.losses import LOSSES
from westofn.errors import ParameterError
from westofn.models.scoring import pair_margins
from westofn.runtime import Runtime
from westofn.training.arms import preferences_from
from westofn.training.linear_head import LinearHead, train_linear_head
from westofn.training.losses import loss_of
from westofn.training.pairs import Preferences, TrainingPairs
from westofn.training.preference import train_reward_model
from westofn.training.recipe import Recipe
from westofn.training.trained import TrainedReward

CPU = Runtime(device="cpu")
LEARN = {"steps": 30, "batch_size": 32, "learning_rate": 8e-3}


def _train(policy: Path, folder: Path, confidence: float, **changes: Any) -> TrainedReward:
    human = planted_pairs(60, seed=1)
    human = Preferences(
        human.prompts, human.chosen, human.rejected, human.p_chosen, [confidence] * 60
    )
    pairs = TrainingPairs(human, None, planted_pairs(30, seed=2))
    recipe = Recipe(policy, start_params(), reward_params(**(LEARN | changes)), 0)
    return train_reward_model("student_rm", pairs, recipe, folder, CPU)


def _raw_margin(trained: TrainedReward) -> float:
    """The mean margin of new pairs before calibration."""
    fresh = planted_pairs(60, seed=3)
    margins = pair_margins(trained.scorer, fresh.prompts, fresh.chosen, fresh.rejected)
    return float(margins.mean()) * float(trained.facts["temperature"])


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_a_planted_preference(loss: str, policy: Path, tmp_path: Path) -> None:
    trained = _train(policy, tmp_path, 0.9, loss=loss)
    assert float(trained.facts["validation_accuracy"]) > 0.9


def test_soft_labels_hold_margins_near_their_logit(policy: Path, tmp_path: Path) -> None:
    soft = _raw_margin(_train(policy, tmp_path / "soft", 0.75, loss="soft", steps=60))
    hard = _raw_margin(_train(policy, tmp_path / "hard", 0.75, loss="bradley_terry", steps=60))
    assert soft == pytest.approx(math.log(3), abs=0.5)
    assert hard > 2 * soft


def test_a_larger_margin_asked_of_sure_pairs_moves_them_further_apart(
    policy: Path, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"loss_margin": 8.0, "steps": 60, "evaluations": 1}
    sure, unsure = (
        _raw_margin(_train(policy, tmp_path / name, p, loss="margin", **asked))
        for name, p in (("sure", 1.0), ("unsure", 0.5))
    )
    assert sure > unsure + 1


def test_hard_labels_ignore_the_labellers_confidence(policy: Path, tmp_path: Path) -> None:
    weights = [
        _train(policy, tmp_path / str(p), p, steps=3).scorer.model.head.weight for p in (0.6, 1.0)
    ]
    assert torch.equal(*weights)


def test_a_linear_head_is_fitted_to_the_targets_of_its_loss(policy: Path) -> None:
    human = planted_pairs(40, seed=1)
    smoothed = Preferences(human.prompts, human.chosen, human.rejected, [0.75] * 40)
    heads = []
    for pairs, params in (
        (human, reward_params(learner="linear_head", loss="conservative", label_smoothing=0.25)),
        (smoothed, reward_params(learner="linear_head")),
    ):
        recipe = Recipe(policy, start_params(), params, 0)
        sets = TrainingPairs(pairs, None, planted_pairs(20, seed=2))
        trained = train_linear_head("student_rm", sets, LinearHead(), recipe, CPU)
        heads.append(trained.scorer.model.head.weight)
    torch.testing.assert_close(*heads)


def test_a_linear_head_refuses_a_loss_without_targets(policy: Path) -> None:
    pairs = TrainingPairs(planted_pairs(8, seed=1), None, planted_pairs(8, seed=2))
    recipe = Recipe(policy, start_params(), reward_params(learner="linear_head", loss="margin"), 0)
    with pytest.raises(ParameterError, match=r"^student_rm.loss is 'margin', and a linear head"):
        train_linear_head("student_rm", pairs, LinearHead(), recipe, CPU)


def test_a_linear_head_in_a_section_of_networks_has_bradley_terry(policy: Path) -> None:
    pairs = TrainingPairs(planted_pairs(40, seed=1), None, planted_pairs(20, seed=2))
    heads = []
    for loss in ("margin", "bradley_terry"):
        recipe = Recipe(policy, start_params(), reward_params(loss=loss), 0)
        trained = train_linear_head("autorater", pairs, LinearHead(), recipe, CPU)
        heads.append(trained.scorer.model.head.weight)
    assert torch.equal(*heads)


def test_labels_are_hard_or_the_labellers_confidence_as_the_loss_reads_them() -> None:
    columns = {"prompt": ["x", "y"], "chosen": ["a", "c"], "rejected": ["b", "d"]}
    pairs = preferences_from(pl.DataFrame(columns | {"p_chosen": [0.75, None]}))
    assert pairs.labels(loss_of(reward_params(), "base_rm")) == [1.0, 1.0]
    assert pairs.labels(loss_of(reward_params(loss="soft"), "base_rm")) == [0.75, 1.0]
    assert pairs.take([1]).confidence == [1.0]
