from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from westofn.artifacts.pair_scores import PAIR_SCORES
from westofn.errors import DataError, ModelError
from westofn.evaluation.held_out import evaluate_preferences
from westofn.evaluation.judges import AutoraterJudge
from westofn.models.ensemble import Ensemble

from .planted import preference_frame, text

PAIRS = [(f"p{row // 2}", text(row % 3), text(-1 - row % 4)) for row in range(40)]


def flipped(pairs, rows):
    return [(n, r, c) if row in rows else (n, c, r) for row, (n, c, r) in enumerate(pairs)]


def test_a_model_that_is_gold_is_always_right_on_pairs_in_the_order_of_gold(gold, planted):
    found = evaluate_preferences(
        "m", Ensemble.of(planted(1.0)), preference_frame(PAIRS), gold, seed=0
    ).metrics
    assert [found[f"accuracy{end}"] for end in ("", "_low", "_high")] == [1.0, 1.0, 1.0]
    assert found["test_pairs"] == 40


def test_a_model_that_is_gold_reversed_is_always_wrong(gold, planted):
    found = evaluate_preferences(
        "m", Ensemble.of(planted(-1.0)), preference_frame(PAIRS), gold, seed=0
    )
    assert found.metrics["accuracy"] == 0.0
    assert found.metrics["high_confidence_accuracy"] == 0.0


def test_a_constant_model_is_half_right_calibrated_and_without_a_length_correlation(gold, planted):
    found = evaluate_preferences(
        "m", Ensemble.of(planted(0.0)), preference_frame(PAIRS), gold, seed=0
    ).metrics
    assert found["accuracy"] == found["accuracy_low"] == found["accuracy_high"] == 0.5
    assert found["ece"] == 0.0
    assert found["brier"] == 0.25
    assert "length_correlation" not in found


def test_the_interval_resamples_prompts_and_holds_the_mean(gold, planted):
    # 10 of 40 wrong. In whole prompts (two pairs each) the spread is sqrt(2) that of single pairs.
    together = preference_frame(flipped(PAIRS, range(10)))
    single = together.with_columns(prompt_id=pl.col("pair_id"))
    found = [
        evaluate_preferences("m", Ensemble.of(planted(1.0)), f, gold, seed=0)
        for f in (together, single)
    ]
    widths = []
    for metrics in (each.metrics for each in found):
        assert metrics["accuracy"] == 0.75
        assert metrics["accuracy_low"] < 0.75 < metrics["accuracy_high"]
        widths.append(metrics["accuracy_high"] - metrics["accuracy_low"])
    assert widths[0] / widths[1] == pytest.approx(2**0.5, rel=0.2)


def test_gold_is_sure_from_a_true_probability_of_four_fifths_on(gold, planted):
    # sigmoid(1) = 0.73 is not sure; sigmoid(2) = 0.88 is, in either order.
    pairs = [
        ("a", "good", "so"),
        ("b", "good good", "so"),
        ("c", "so", "good good"),
        ("d", "so", "good"),
    ]
    found = evaluate_preferences(
        "m", Ensemble.of(planted(1.0)), preference_frame(pairs), gold, seed=0
    ).metrics
    assert found["high_confidence_by"] == "gold"
    assert found["high_confidence_pairs"] == 2
    assert found["high_confidence_accuracy"] == 0.5


def test_annotators_tell_themselves_how_sure_they_were_where_there_is_no_gold(planted):
    pairs = [("a", "good", "so"), ("b", "so", "good"), ("c", "good", "bad"), ("d", "so", "bad")]
    frame = preference_frame(pairs, p_chosen=[0.8, 0.2, 0.7, None])
    judge = AutoraterJudge(planted(-1.0))
    found = evaluate_preferences("m", Ensemble.of(planted(1.0)), frame, judge, seed=0).metrics
    assert found["high_confidence_by"] == "annotator"
    assert found["high_confidence_pairs"] == 2
    assert found["high_confidence_accuracy"] == 0.5


def test_the_half_with_the_largest_autorater_margin_is_sure_where_only_that_is_known(planted):
    pairs = [("a", text(3), "so"), ("b", "so", text(3)), ("c", "good", "so"), ("d", "good", "so")]
    judge = AutoraterJudge(planted(-1.0))
    found = evaluate_preferences(
        "m", Ensemble.of(planted(1.0)), preference_frame(pairs), judge, seed=0
    ).metrics
    assert found["high_confidence_by"] == "autorater"
    assert found["high_confidence_pairs"] == 2
    assert found["high_confidence_accuracy"] == 0.5
    assert found["accuracy"] == 0.75


def test_nothing_is_said_of_sure_pairs_where_no_pair_is_sure(gold, planted):
    frame = preference_frame([("a", "good", "so"), ("b", "so", "bad")])
    found = evaluate_preferences("m", Ensemble.of(planted(1.0)), frame, gold, seed=0).metrics
    assert not [key for key in found if key.startswith("high_confidence")]


def test_length_is_counted_in_tokens(gold, planted):
    # Tokens chosen/rejected: 3/1, 3/2, 1/2, 2/2; the model is right on rows 1, 2 and 4.
    pairs = [
        ("a", text(1, 2), "so"),
        ("b", text(2, 1), text(1, 1)),
        ("c", "bad", text(1, 1)),
        ("d", text(2), text(1, 1)),
    ]
    found = evaluate_preferences(
        "m", Ensemble.of(planted(1.0)), preference_frame(pairs), gold, seed=0
    )
    assert found.metrics["longest_accuracy"] == (1 + 1 + 0 + 0.5) / 4
    assert found.metrics["shortest_accuracy"] == 1 - 2.5 / 4
    assert found.metrics["accuracy_when_chosen_longer"] == 1.0
    assert found.metrics["accuracy_when_chosen_shorter"] == 0.0
    assert found.length[0]["length_difference_low"] == -1.0
    assert found.length[-1]["length_difference_high"] == 2.0
    assert sum(part["pairs"] for part in found.length) == 4


def test_the_reliability_curve_covers_every_pair_by_the_label_the_model_gives(gold, planted):
    frame = preference_frame(flipped(PAIRS, range(0, 40, 3)))
    found = evaluate_preferences("m", Ensemble.of(planted(0.5)), frame, gold, seed=0)
    assert sum(part["pairs"] for part in found.reliability) == 40
    for part in found.reliability:
        assert 0.5 <= part["p_low"] <= part["p_high"]
        assert part["p_low"] - 1e-12 <= part["p_mean"] <= part["p_high"] + 1e-12
    gaps = [
        part["pairs"] / 40 * abs(part["accuracy"] - part["p_mean"]) for part in found.reliability
    ]
    assert found.metrics["ece"] == pytest.approx(sum(gaps))


def test_the_written_rewards_give_the_accuracy_again(gold, planted):
    frame = preference_frame(flipped(PAIRS, range(7)))
    found = evaluate_preferences("m", Ensemble.of(planted(1.0)), frame, gold, seed=0)
    rows = PAIR_SCORES.validate(found.scores, "here")
    assert rows["pair_id"].to_list() == sorted(frame["pair_id"])
    assert set(rows["set"]) == {"test"}
    right = (rows["reward_chosen"] > rows["reward_rejected"]).mean()
    assert right == found.metrics["accuracy"] == 33 / 40
    margin = (rows["reward_chosen"] - rows["reward_rejected"]).to_numpy()
    np.testing.assert_allclose(rows["p_chosen"], 1 / (1 + np.exp(-margin)), rtol=1e-5)


@pytest.mark.parametrize("comparator", ["embedding", "joint"])
def test_a_pairwise_model_has_probabilities_that_turn_with_the_pair_and_no_rewards(
    gold, untrained, comparator
):
    scorer, there = untrained(comparator), preference_frame(PAIRS)
    back = there.rename({"chosen": "rejected", "rejected": "chosen"})
    found = [
        evaluate_preferences("base", Ensemble.of(scorer), f, gold, seed=0) for f in (there, back)
    ]
    rows = [PAIR_SCORES.validate(each.scores, "here") for each in found]
    assert rows[0]["reward_chosen"].null_count() == 40
    np.testing.assert_allclose(rows[0]["p_chosen"] + rows[1]["p_chosen"], 1.0, atol=1e-5)
    assert found[0].metrics["accuracy"] == pytest.approx(1 - found[1].metrics["accuracy"])
    assert np.ptp(rows[0]["p_chosen"].to_numpy()) > 0.01


def test_no_test_pairs_is_an_error_that_says_how_to_mend_it(gold, planted):
    with pytest.raises(DataError, match="0 pairs with split test, needs at least 1"):
        evaluate_preferences(
            "m", Ensemble.of(planted(1.0)), preference_frame(PAIRS).clear(), gold, seed=0
        )


def test_a_model_that_answers_nan_is_refused_by_name(gold, planted):
    with pytest.raises(ModelError, match="model hf50: 80 of 80 rewards of pairs are NaN"):
        evaluate_preferences(
            "hf50", Ensemble.of(planted(float("nan"))), preference_frame(PAIRS), gold, seed=0
        )


def test_pairs_beyond_the_limit_count_and_are_told_apart(gold, planted):
    # Six pairs in the order of gold; of two long ones in the wrong order one is chosen, one not.
    limit = planted(1.0).encoder.template.max_response_tokens
    beyond = text(-1, limit)  # one word more
    pairs = [*PAIRS[:6], ("x", beyond, "good"), ("y", "bad bad", beyond)]
    measures = evaluate_preferences(
        "m", Ensemble.of(planted(1.0)), preference_frame(pairs), gold, seed=0
    ).metrics
    assert (measures["test_pairs"], measures["test_pairs_too_long"]) == (8, 2)
    assert (measures["accuracy"], measures["accuracy_within_limit"]) == (0.75, 1.0)


def test_where_all_pairs_fit_one_accuracy_says_it(gold, planted):
    measures = evaluate_preferences(
        "m", Ensemble.of(planted(1.0)), preference_frame(PAIRS), gold, seed=0
    ).metrics
    assert measures["test_pairs_too_long"] == 0
    assert "accuracy_within_limit" not in measures


def test_a_model_that_judges_by_length_alone_shows_it(gold, planted):
    # The longer response has the good words, and is chosen in three of four pairs.
    pairs = [(f"p{row}", text(2 + row % 5), "so") for row in range(40)]
    frame = preference_frame(flipped(pairs, range(10)))
    numbers = evaluate_preferences("m", Ensemble.of(planted(1.0)), frame, gold, seed=0).metrics
    assert numbers["length_rank_correlation"] == pytest.approx(1.0)
    assert [numbers[f"accuracy_over_length{end}"] for end in ("", "_low", "_high")] == [0, 0, 0]


def test_a_model_that_length_does_not_explain_is_above_the_better_of_both_baselines(gold, planted):
    # "so so so" is longer than "good" in half of the pairs, "good good" than "so" in the other.
    pairs = [
        (f"p{row}", *(("good", "so so so") if row % 2 else ("good good", "so")))
        for row in range(40)
    ]
    frame = preference_frame(pairs)
    numbers = evaluate_preferences("m", Ensemble.of(planted(1.0)), frame, gold, seed=0).metrics
    assert numbers["accuracy_over_length"] == 0.5
    assert numbers["accuracy_over_length_low"] > 0
    assert numbers["margin_spread"] == pytest.approx(2.5**0.5)  # margins 1 and 2 by turns


def test_equal_rewards_have_no_spread(gold, planted):
    frame = preference_frame(PAIRS)
    numbers = evaluate_preferences("m", Ensemble.of(planted(0.0)), frame, gold, seed=0).metrics
    assert numbers["margin_spread"] == 0.0
    assert numbers["length_rank_correlation"] == 0.0


def test_a_single_pair_has_no_rank_correlation(gold, planted):
    frame = preference_frame(PAIRS[:1])
    numbers = evaluate_preferences("m", Ensemble.of(planted(1.0)), frame, gold, seed=0).metrics
    assert "length_rank_correlation" not in numbers
