from __future__ import annotations

import numpy as np
import pytest

from westofn.artifacts.pool_scores import POOL_SCORES
from westofn.errors import ModelError
from westofn.evaluation.candidate_rewards import (
    draw_pairs,
    judge_pools,
    model_rewards,
    pool_scores,
)
from westofn.models.ensemble import Ensemble

from .planted import pool_of


def test_gold_and_a_planted_model_agree_on_every_candidate(gold, planted):
    pool = pool_of([3, -2, 0], [1, 1, 4])
    assert judge_pools(gold, pool).tolist() == [[3, -2, 0], [1, 1, 4]]
    assert model_rewards("m", Ensemble.of(planted(2.0)), pool).tolist() == [[6, -4, 0], [2, 2, 8]]


def test_pool_scores_hold_the_reward_of_each_candidate():
    pool = pool_of([3, -2], [1, 4])
    frame = POOL_SCORES.validate(pool_scores("m", pool, np.array([[3.0, -2], [1, 4]])), "here")
    assert frame.rows() == [
        ("p0", 0, "m", 3),
        ("p0", 1, "m", -2),
        ("p1", 0, "m", 1),
        ("p1", 1, "m", 4),
    ]


def test_a_pairwise_model_has_no_rewards_for_a_pool(untrained):
    with pytest.raises(ModelError, match="pointwise"):
        model_rewards("base", Ensemble.of(untrained("embedding")), pool_of([1, 2]))


def test_a_model_that_answers_nan_is_refused_by_name(planted):
    with pytest.raises(ModelError, match="model k1: 2 of 2 rewards of candidates are NaN"):
        model_rewards("k1", Ensemble.of(planted(float("nan"))), pool_of([1, 2]))


def test_all_pairs_are_drawn_once_where_that_many_are_asked_for():
    drawn = draw_pairs(pool_of([1, 2, 3], [4, 5, 6]), 3, 0, "x")
    for first, second in zip(drawn.first, drawn.second, strict=True):
        assert list(zip(first, second, strict=True)) == [(0, 1), (0, 2), (1, 2)]


def test_drawn_pairs_are_distinct_and_do_not_depend_on_other_prompts():
    values = [list(range(6))] * 3
    drawn, alone = (draw_pairs(pool_of(*some), 7, 0, "x") for some in (values, values[:1]))
    assert (drawn.first < drawn.second).all()
    assert {
        len(set(zip(*row, strict=True))) for row in zip(drawn.first, drawn.second, strict=True)
    } == {7}
    assert drawn.first[0].tolist() == alone.first[0].tolist()
    assert drawn.second[0].tolist() == alone.second[0].tolist()
    assert len({tuple(row) for row in drawn.first}) > 1
