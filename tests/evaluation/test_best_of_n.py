from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest

from westofn.artifacts.pool_scores import POOL_SCORES
from westofn.core.best_of_n import best_of_n_kl
from westofn.evaluation.best_of_n import evaluate_best_of_n, win_rates
from westofn.evaluation.candidate_rewards import judge_pools, model_rewards
from westofn.models.ensemble import Ensemble

from .planted import pool_of

VALUES = [[0, 1, 2, 3], [5, 4, -1, 2], [-2, 7, 0, 4]]


def evaluate(gold, scorer, judge="gold"):
    pool = pool_of(*VALUES)
    return evaluate_best_of_n(
        "m",
        model_rewards("m", Ensemble.of(scorer), pool),
        pool,
        judge_pools(gold, pool),
        judge,
        seed=0,
    )


def test_a_model_equal_to_gold_takes_the_best_of_each_pool_at_n_equal_to_its_size(gold, planted):
    found = evaluate(gold, planted(1.0))
    assert [point["n"] for point in found.curve] == [1, 2, 4]
    first, last = found.curve[0], found.curve[-1]
    assert first["gold"] == first["proxy"] == pytest.approx(np.mean(VALUES))
    assert last["gold"] == last["proxy"] == found.metrics["best_of_n_gold"] == (3 + 5 + 7) / 3
    assert last["kl"] == best_of_n_kl(4)
    assert found.metrics["n_candidates"] == 4


def test_a_model_that_is_gold_reversed_takes_the_worst(gold, planted):
    last = evaluate(gold, planted(-1.0)).curve[-1]
    assert last["gold"] == (0 - 1 - 2) / 3
    assert last["proxy"] == 1.0
    assert last["win_rate"] < 0.5


def test_a_constant_model_has_flat_curves_and_wins_one_half(gold, planted):
    curve = evaluate(gold, planted(0.0)).curve
    for point in curve:
        assert point["gold"] == pytest.approx(np.mean(VALUES))
        assert point["win_rate"] == pytest.approx(0.5)
        assert point["proxy"] == 0.0


def test_every_interval_holds_its_mean(gold, planted):
    found = evaluate(gold, planted(1.0))
    checked = 0
    for record in (*found.curve, found.metrics):
        for key in [key.removesuffix("_low") for key in record if key.endswith("_low")]:
            assert record[f"{key}_low"] <= record[key] <= record[f"{key}_high"]
            checked += 1
    assert checked == 3 * 3 + 2


def test_the_win_rate_at_the_size_of_the_pool_leaves_one_candidate_out_as_the_opponent(
    gold, planted
):
    # Best of the 3 others loses to the best candidate and beats each of the 3 others: 3/4.
    found = evaluate(gold, planted(1.0))
    assert [point["win_rate_n"] for point in found.curve] == [1, 2, 3]
    assert [point["win_rate"] for point in found.curve] == pytest.approx([1 / 2, 2 / 3, 3 / 4])
    assert found.metrics["best_of_n_win_rate"] == pytest.approx(3 / 4)


def test_the_win_rate_is_the_mean_over_all_choices_of_n_and_of_an_opponent_outside():
    rng = np.random.default_rng(0)
    proxy, judged = (
        rng.permuted(np.tile(np.arange(5.0), (2, 1)), axis=1),
        rng.integers(3, size=(2, 5)),
    )
    for n in (1, 2, 3, 4):
        expected = [
            np.mean(
                [
                    (np.sign(judged[p][max(some, key=lambda i: proxy[p][i])] - judged[p][b]) + 1)
                    / 2
                    for some in combinations(range(5), n)
                    for b in range(5)
                    if b not in some
                ]
            )
            for p in range(2)
        ]
        np.testing.assert_allclose(win_rates(proxy, judged.astype(float), [n])[:, 0], expected)


def test_without_gold_there_is_a_win_rate_and_no_gold(gold, planted):
    found = evaluate(gold, planted(1.0), judge="autorater")
    assert not [key for point in found.curve for key in point if key.startswith("gold")]
    assert set(found.metrics) == {
        "n_candidates",
        "best_of_n_win_rate",
        "best_of_n_win_rate_low",
        "best_of_n_win_rate_high",
    }
    assert found.metrics["best_of_n_win_rate"] == pytest.approx(3 / 4)


def test_a_pool_of_two_has_one_candidate_and_one_opponent():
    rewards = np.array([[0.0, 1.0]])
    curve = evaluate_best_of_n("m", rewards, pool_of([0, 1]), rewards, "gold", seed=0).curve
    assert [(point["n"], point["gold"], point["win_rate"]) for point in curve] == [
        (1, 0.5, 0.5),
        (2, 1.0, 0.5),
    ]


def test_the_pool_scores_give_the_choice_again(gold, planted):
    rows = POOL_SCORES.validate(evaluate(gold, planted(1.0)).scores, "here")
    best = rows.group_by("prompt_id").agg(pl.col("reward").max())
    assert best["reward"].mean() == (3 + 5 + 7) / 3
