from __future__ import annotations

import numpy as np
import pytest

from westofn.artifacts.pool_scores import POOL_SCORES
from westofn.errors import DataError, ModelError
from westofn.evaluation.pools import Pool, draw_pairs, judge_pool, pool_scores, score_pool
from westofn.models.ensemble import Ensemble

from .planted import candidate_frame, pool_of, prompt_frame


def test_row_and_column_are_prompt_and_candidate_index_whatever_the_order_of_rows():
    frame = candidate_frame({"p1": ["good", "bad"], "p0": ["so", "good good"]})
    pool = Pool.from_frames(
        frame.sample(fraction=1.0, shuffle=True, seed=1), prompt_frame(["p1", "p0", "p9"])
    )
    assert pool.prompt_ids == ["p0", "p1"]
    assert pool.prompts == ["a post about p0", "a post about p1"]
    assert pool.responses == [["so", "good good"], ["good", "bad"]]
    np.testing.assert_allclose(pool.logprob_per_token, [[-0.5, -1.0], [-0.5, -1.0]])


def test_gold_and_a_planted_model_agree_on_every_candidate(gold, planted):
    pool = pool_of([3, -2, 0], [1, 1, 4])
    assert judge_pool(gold, pool).tolist() == [[3, -2, 0], [1, 1, 4]]
    assert score_pool("m", Ensemble.of(planted(2.0)), pool).tolist() == [[6, -4, 0], [2, 2, 8]]


def test_pool_scores_hold_the_reward_of_each_candidate():
    pool = pool_of([3, -2], [1, 4])
    frame = POOL_SCORES.validate(pool_scores("m", pool, np.array([[3.0, -2], [1, 4]])), "here")
    assert frame.rows() == [
        ("p0", 0, "m", 3),
        ("p0", 1, "m", -2),
        ("p1", 0, "m", 1),
        ("p1", 1, "m", 4),
    ]


def test_candidates_of_unknown_prompts_are_refused():
    with pytest.raises(DataError, match="prompt p1 and 0 others are not in prompts"):
        Pool.from_frames(candidate_frame({"p1": ["good", "bad"]}), prompt_frame(["p0"]))


def test_a_pool_of_one_is_refused():
    with pytest.raises(DataError, match="at least 2 candidates a prompt"):
        Pool.from_frames(candidate_frame({"p1": ["good"]}), prompt_frame(["p1"]))


def test_a_pairwise_model_has_no_rewards_for_a_pool(untrained):
    with pytest.raises(ModelError, match="pointwise"):
        score_pool("base", Ensemble.of(untrained("embedding")), pool_of([1, 2]))


def test_a_model_that_answers_nan_is_refused_by_name(planted):
    with pytest.raises(ModelError, match="model k1: 2 of 2 rewards of candidates are NaN"):
        score_pool("k1", Ensemble.of(planted(float("nan"))), pool_of([1, 2]))


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
