from __future__ import annotations

import numpy as np
import pytest

from westofn.artifacts.pair_scores import PAIR_SCORES
from westofn.evaluation.candidate_rewards import judge_pools, model_rewards
from westofn.evaluation.on_policy import evaluate_on_policy, on_policy_pairs
from westofn.evaluation.pairs import score_pairs
from westofn.models.ensemble import Ensemble

from .planted import pool_of, worth

POOL = [[0, 1, 2, 3], [5, 5, -1, 2], [-2, -2, -2, 4]]


def test_pairs_stand_in_the_order_of_gold_and_ties_are_counted(gold):
    pool = pool_of(*POOL)
    drawn = on_policy_pairs(pool, judge_pools(gold, pool), seed=0)
    # All 6 pairs of each pool of 4; one tie in p1, three in p2.
    assert drawn.ties == 1 + 3
    assert drawn.pairs.height == 3 * 6 - 4
    assert all(worth(row["chosen"]) > worth(row["rejected"]) for row in drawn.pairs.to_dicts())
    assert drawn.pairs["pair_id"].n_unique() == drawn.pairs.height


def test_several_pairs_a_prompt_are_drawn_of_a_large_pool(gold):
    pool = pool_of(list(range(-8, 9)), list(range(-3, 14)))
    drawn = on_policy_pairs(pool, judge_pools(gold, pool), seed=0, per_prompt=5)
    assert drawn.pairs["prompt_id"].value_counts().sort("prompt_id")["count"].to_list() == [5, 5]
    again = on_policy_pairs(pool, judge_pools(gold, pool), seed=0, per_prompt=5)
    other = on_policy_pairs(pool, judge_pools(gold, pool), seed=1, per_prompt=5)
    assert drawn.pairs.equals(again.pairs)
    assert not drawn.pairs.equals(other.pairs)


@pytest.mark.parametrize(("scale", "accuracy"), [(1.0, 1.0), (0.0, 0.5), (-1.0, 0.0)])
def test_a_model_equal_to_gold_is_right_a_constant_one_half_right(gold, planted, scale, accuracy):
    pool = pool_of(*POOL)
    drawn = on_policy_pairs(pool, judge_pools(gold, pool), seed=0)
    scored = score_pairs("m", Ensemble.of(planted(scale)), drawn.pairs)
    found = evaluate_on_policy("m", scored, drawn, seed=0)
    keys = ("on_policy_accuracy", "on_policy_accuracy_low", "on_policy_accuracy_high")
    assert [found.metrics[key] for key in keys] == [accuracy] * 3
    assert (found.metrics["on_policy_pairs"], found.metrics["on_policy_ties"]) == (14, 4)
    rows = PAIR_SCORES.validate(found.scores, "here")
    assert rows["set"].unique().to_list() == ["on_policy"]


def test_the_rewards_of_the_pool_are_those_of_the_pairs(gold, untrained):
    pool, scorer = pool_of(*POOL), untrained("pointwise")
    drawn = on_policy_pairs(pool, judge_pools(gold, pool), seed=0)
    by_pool = drawn.from_pools(model_rewards("m", Ensemble.of(scorer), pool))
    by_pair = score_pairs("m", Ensemble.of(scorer), drawn.pairs)
    np.testing.assert_allclose(by_pool.margin, by_pair.margin, atol=1e-5)
    np.testing.assert_allclose(by_pool.reward_rejected, by_pair.reward_rejected, atol=1e-5)
    assert np.ptp(by_pool.margin) > 0.1


def test_pools_in_which_all_candidates_tie_have_no_pairs(gold):
    pool = pool_of([1, 1, 1], [2, 2, 2])
    drawn = on_policy_pairs(pool, judge_pools(gold, pool), seed=0)
    assert (drawn.pairs.height, drawn.ties) == (0, 6)
