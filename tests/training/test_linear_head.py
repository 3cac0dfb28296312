"""A linear head on frozen features becomes an ordinary reward model."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from tests.small_models import reward_params, start_params
from tests.training.planted import FILLERS, planted_pairs
from westofn.artifacts.pools import Pools
from westofn.core.linear_reward import (
    PENALTIES,
    fit_by_validation,
    inverse_spread,
    prior_roots,
    within_pool_covariance,
)
from westofn.errors import TrainingError
from westofn.execution.stage_accounts import reward_model_account
from westofn.models.features import FeatureReader
from westofn.models.policy import load_policy
from westofn.models.saved_reward import load_reward_model, save_reward_model
from westofn.models.scoring import pair_margins, score_rows
from westofn.params.comparator import ComparatorName
from westofn.params.lora import LoraParams
from westofn.params.network import Readout
from westofn.runtime import Runtime
from westofn.training.linear_head import LinearHead, LinearHeads, bounded, train_linear_head
from westofn.training.pairs import Preferences, TrainingPairs
from westofn.training.preference import train_reward_model
from westofn.training.recipe import Head, Recipe
from westofn.training.trained import TrainedReward

CPU = Runtime(device="cpu")
HUMAN, VALIDATION = planted_pairs(40, seed=1), planted_pairs(60, seed=2)
POOLS = Pools(
    ["p0", "p1"],
    ["the cat sat", "a dog ran"],
    [[f"{a} {b}" for a in FILLERS[:4] for b in ("good", "bad")] for _ in range(2)],
)


def train(
    policy: Path,
    human: Preferences = HUMAN,
    *,
    synthetic: Preferences | None = None,
    fraction: float = 0.5,
    powers: tuple[float, ...] = (0.0,),
    samples: Pools | None = POOLS,
    readout: Readout = "mean",
    **loss: Any,
) -> TrainedReward:
    return train_linear_head(
        "student_rm",
        TrainingPairs(human, synthetic, VALIDATION, fraction),
        LinearHead(powers, samples),
        Recipe(policy, start_params(), reward_params(readout=readout, **loss), 0),
        CPU,
    )


def features(policy: Path, pairs: Preferences) -> Tensor:
    """(pairs, 2, width) of the policy's weights."""
    start = load_policy(policy)
    reader = FeatureReader(start.model, start.encoder, "mean")
    both = [list(pair) for pair in zip(pairs.chosen, pairs.rejected, strict=True)]
    return reader.pools(pairs.prompts, both)


def fitted_by_hand(policy: Path, powers: tuple[float, ...]) -> Tensor:
    """(width,) weights of unscaled features, before they are scaled to the validation pairs."""
    human, validation = features(policy, HUMAN), features(policy, VALIDATION)
    texts = torch.cat([human, validation]).reshape(-1, human.shape[-1])
    spread = (texts - texts.mean(0)).square().mean(0).sqrt()
    start = load_policy(policy)
    reader = FeatureReader(start.model, start.encoder, "mean")
    pools = reader.pools(POOLS.prompts, POOLS.responses) / spread
    fitted = fit_by_validation(
        (human[:, 0] - human[:, 1]) / spread,
        (validation[:, 0] - validation[:, 1]) / spread,
        roots=prior_roots(within_pool_covariance(pools), powers),
    )
    return fitted.weights / spread


@pytest.mark.parametrize("powers", [(0.0,), (1.0,), (0.0, 0.5, 1.0, 2.0)])
def test_a_saved_head_gives_the_rewards_of_the_fit(
    powers: tuple[float, ...], policy: Path, tmp_path: Path
) -> None:
    trained = train(policy, powers=powers)
    save_reward_model(trained.scorer, tmp_path / "rm", [("the cat", "good")], trained.facts)
    loaded = load_reward_model(tmp_path / "rm")
    fresh = planted_pairs(30, seed=3)
    rewards = score_rows(loaded, fresh.prompts, fresh.chosen)[:, 0].double()
    expected = features(policy, fresh)[:, 0] @ fitted_by_hand(policy, powers)
    scale = 1 / float(trained.facts["temperature"])  # of which the card has four digits
    assert torch.allclose(rewards, scale * expected, rtol=1e-3, atol=1e-5)
    unit = rewards / rewards.norm() - expected / expected.norm()
    assert float(unit.abs().max()) < 1e-5
    assert loaded.reward_std == pytest.approx(float(trained.scorer.reward_std))


def test_a_joint_head_compares_by_half_the_difference_of_both_orders(policy: Path) -> None:
    """The margins that the fit saw are those of the model, which swap their sign with the pair."""
    recipe = Recipe(policy, start_params(), reward_params(), 0, Head("joint"))
    sets = TrainingPairs(planted_pairs(300, seed=1), None, VALIDATION)
    heads = LinearHeads("base_rm", sets, LinearHead(), recipe, CPU)
    scorer = heads.fit().scorer
    rows = VALIDATION
    margins = pair_margins(scorer, rows.prompts, rows.chosen, rows.rejected)
    back = pair_margins(scorer, rows.prompts, rows.rejected, rows.chosen)
    assert torch.equal(margins, -back)
    assert float((margins > 0).float().mean()) > 0.9
    read = heads.read.validation.features
    expected = (read[:, 0] - read[:, 1]).float() @ scorer.model.head.weight[0].detach()
    torch.testing.assert_close(margins, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("comparator", ["pointwise", "embedding", "joint"])
@pytest.mark.parametrize("rank", [0, 2])
def test_a_network_may_start_at_the_linear_head(
    comparator: ComparatorName, rank: int, policy: Path, tmp_path: Path
) -> None:
    """At a learning rate that moves nothing, it is as good as the head, and so calibrated."""
    results = {}
    lora = LoraParams(rank=rank, alpha=16.0, targets="all-linear", dropout=0.0)
    starts: tuple[Literal["zero", "linear_head"], ...] = ("zero", "linear_head")
    for start in starts:
        params = reward_params(head_start=start, learning_rate=1e-9, steps=1, lora=lora)
        recipe = Recipe(policy, start_params(), params, 0, Head(comparator, 2))
        sets = TrainingPairs(planted_pairs(300, seed=1), None, VALIDATION)
        results[start] = train_reward_model("base_rm", sets, recipe, tmp_path / start, CPU)
    facts = results["linear_head"].facts
    assert float(facts["validation_accuracy"]) > 0.9
    assert float(facts["temperature"]) == pytest.approx(1, abs=0.05)
    assert float(results["zero"].facts["temperature"]) < 0.1
    if comparator == "pointwise":  # what `centering` asks for
        scorer = results["linear_head"].scorer
        assert abs(scorer.reward_mean) < 0.05 * scorer.reward_std


def test_of_many_validation_pairs_and_examples_a_sample_is_read(
    policy: Path, tmp_path: Path
) -> None:
    sets = TrainingPairs(HUMAN, None, VALIDATION)
    recipe = Recipe(policy, start_params(), reward_params(validation_pairs=7), 0)
    for trained in (
        train_linear_head("student_rm", sets, LinearHead(), recipe, CPU),
        train_reward_model("student_rm", sets, recipe, tmp_path, CPU),
    ):
        facts = trained.facts
        assert (facts["validation_pairs"], facts["validation_not_read"]) == (7, 53)
        account = reward_model_account("student_rm", {k: facts[k] for k in facts})  # type: ignore[misc]
        assert "7 of 60 validation rows" in account.notes


def test_the_network_is_that_of_the_start(policy: Path) -> None:
    before = load_policy(policy).model.state_dict()
    after = train(policy, powers=(1.0,)).scorer.model.backbone.state_dict()
    shared = before.keys() & after.keys()
    assert len(shared) > 10
    assert all(torch.equal(before[name], after[name]) for name in shared)


@pytest.mark.parametrize("readout", ["mean", "last"])
def test_a_planted_preference_is_learned(readout: Readout, policy: Path) -> None:
    trained = train(policy, planted_pairs(300, seed=1), readout=readout)
    fresh = planted_pairs(200, seed=3)
    margins = pair_margins(trained.scorer, fresh.prompts, fresh.chosen, fresh.rejected)
    assert trained.scorer.model.readout == readout
    assert float((margins > 0).float().mean()) > 0.9


def test_facts_say_what_was_chosen(policy: Path) -> None:
    trained = train(policy, powers=(0.5, 2.0), synthetic=planted_pairs(7, seed=5))
    facts = trained.facts
    assert facts["learner"] == "linear_head"
    assert facts["covariance_power"] in (0.5, 2.0)
    assert facts["covariance_candidates"] == 16
    assert (facts["human_pairs"], facts["synthetic_pairs"]) == (40, 7)
    margins = pair_margins(
        trained.scorer, VALIDATION.prompts, VALIDATION.chosen, VALIDATION.rejected
    )
    accuracy = float((margins > 0).double().mean())
    assert facts["validation_accuracy"] == pytest.approx(accuracy, abs=1e-4)
    assert 0 < float(facts["validation_calibrated_loss"]) < math.log(2)


def test_without_a_power_no_candidate_is_read(policy: Path) -> None:
    trained = train(policy, samples=None)
    assert (trained.facts["covariance_power"], trained.facts["covariance_candidates"]) == (0.0, 0)
    assert torch.equal(trained.scorer.model.head.weight, train(policy).scorer.model.head.weight)


def test_synthetic_pairs_count_by_their_fraction(policy: Path) -> None:
    turned = Preferences(HUMAN.prompts, HUMAN.rejected, HUMAN.chosen, HUMAN.p_chosen)
    alone, none = train(policy), train(policy, synthetic=turned, fraction=0.0)
    assert torch.equal(alone.scorer.model.head.weight, none.scorer.model.head.weight)
    assert none.facts["synthetic_pairs"] == 0
    # Half of the loss says the opposite: no order is left.
    half = train(policy, synthetic=turned)
    assert half.facts["validation_calibrated_loss"] == pytest.approx(math.log(2), abs=1e-3)
    mostly_right = train(policy, synthetic=turned, fraction=0.05)
    assert mostly_right.facts["validation_accuracy"] > half.facts["validation_accuracy"]


def test_what_is_constant_over_human_texts_has_no_weight() -> None:
    texts = torch.tensor([[1.0, 5.0, 2.0], [3.0, 5.0, 2.0 + 1e-9]], dtype=torch.float64)
    assert inverse_spread(texts).tolist() == [1.0, 0.0, 0.0]


def together(parts: list[Preferences]) -> Preferences:
    return Preferences(
        [text for part in parts for text in part.prompts],
        [text for part in parts for text in part.chosen],
        [text for part in parts for text in part.rejected],
        [p for part in parts for p in part.p_chosen],
    )


def test_a_soft_label_is_both_orders_with_its_weights(policy: Path) -> None:
    """Four copies of the pairs, one of them turned, have the labels of p_chosen 0.75."""
    turned = replace(HUMAN, chosen=HUMAN.rejected, rejected=HUMAN.chosen)
    three_right = together([HUMAN, HUMAN, HUMAN, turned])
    soft_copies = together([replace(HUMAN, p_chosen=[0.75] * len(HUMAN))] * 4)
    soft, hard = (
        train(policy, pairs).scorer.model.head.weight for pairs in (soft_copies, three_right)
    )
    torch.testing.assert_close(soft, hard, rtol=1e-4, atol=1e-6)


class TestRefusals:
    def test_a_prior_without_samples(self, policy: Path) -> None:
        with pytest.raises(TrainingError, match="needs samples of the policy"):
            train(policy, powers=(0.0, 1.0), samples=None)

    def test_pools_of_one_response(self, policy: Path) -> None:
        same = Pools(["p0"], ["the cat sat"], [["so so"] * 4])
        with pytest.raises(TrainingError, match=r"raise sample\.temperature"):
            train(policy, powers=(1.0,), samples=same)


class TestSamples:
    def test_too_many_are_cut_to_fewer_a_pool_and_then_to_fewer_pools(self) -> None:
        names = [f"p{i}" for i in range(50)]
        pools = Pools(names, names, [[f"r{j}" for j in range(8)] for _ in names])
        whole, fewer, fewest = (bounded(pools, most) for most in (400, 199, 60))
        assert whole == pools
        assert (len(fewer.prompts), fewer.n_candidates) == (50, 3)
        assert (len(fewest.prompts), fewest.n_candidates) == (30, 2)
        assert fewer.responses[0] == ["r0", "r1", "r2"]


def test_the_curve_is_the_loss_of_every_penalty_a_course_a_power(policy: Path) -> None:
    trained = train(policy, powers=(0.0, 1.0))
    count = len(PENALTIES)
    assert [point["power"] for point in trained.curve] == [0.0] * count + [1.0] * count
    assert [point["step"] for point in trained.curve] == [*range(1, count + 1)] * 2
    penalties = [point["penalty"] for point in trained.curve[:count]]
    assert penalties == sorted(PENALTIES, reverse=True)
    best = min(trained.curve, key=lambda point: point["loss"])
    assert best["power"] == trained.facts["covariance_power"]
    assert best["penalty"] == pytest.approx(float(trained.facts["penalty"]), rel=1e-3)
