from __future__ import annotations

import math

import polars as pl
import pytest

from westofn.artifacts.decisions import REASONS
from westofn.artifacts.json_file import read_json, write_json
from westofn.artifacts.pair_scores import PAIR_SCORES
from westofn.artifacts.pool_scores import POOL_SCORES
from westofn.artifacts.prompt_measures import MEASURES, PROMPT_MEASURES
from westofn.evaluation.arms import evaluate_arm
from westofn.evaluation.candidate_rewards import judge_pools
from westofn.evaluation.judges import AutoraterJudge
from westofn.models.ensemble import Ensemble

from .planted import pool_of, preference_frame, text
from .test_synthetic import west_of_n

TEST = [
    (f"t{row}", text(1 + row % 2, row % 3), text(-(row % 3), (row // 2) % 3)) for row in range(12)
]
VALUES = [[0, 1, 2, 3], [5, 4, -1, 2], [-2, 3, 0, 4]]


def interval(*keys):
    return {f"{key}{end}" for key in keys for end in ("", "_low", "_high")}


ALL = (
    interval("accuracy")
    | interval("accuracy_over_length")
    | {
        "judge",
        "high_confidence_accuracy",
        "high_confidence_by",
        "high_confidence_pairs",
        "ece",
        "brier",
        "test_pairs",
        "test_pairs_too_long",
        "prompts_trimmed",
        "max_response_tokens",
        "length_correlation",
        "length_rank_correlation",
        "margin_spread",
        "longest_accuracy",
        "shortest_accuracy",
        "accuracy_when_chosen_longer",
        "accuracy_when_chosen_shorter",
    }
)
ON_POLICY = interval("on_policy_accuracy") | {"on_policy_pairs", "on_policy_ties"}
POINTWISE = interval("best_of_n_win_rate") | {"n_candidates"}
GOLD = interval("best_of_n_gold")
COUNTS = {"pairs_selected", "pairs_kept"} | {f"kept_by_{reason}" for reason in REASONS}
LIKELIHOODS = {
    f"{kind}_logprob_per_token{side}"
    for kind in ("pair", "human")
    for side in ("", "_chosen", "_rejected")
}
LABELS = interval("label_accuracy", "label_accuracy_random", "label_accuracy_kept") | {
    "label_bound",
    "label_bound_q95",
    "label_bound_q95_holds",
    "label_epsilon",
    "label_epsilon_q95",
    "label_epsilon_pairs",
    "label_p_true",
    "label_p_true_kept",
}
BEST_OF_N = interval("proxy", "win_rate") | {"n", "kl", "win_rate_n"}


def preferences():
    train = preference_frame([("u0", "good", "bad"), ("u1", "bad", "good")], split="train")
    return pl.concat([preference_frame(TEST), train])


def evaluate(model, scorer, judge, **options):
    return evaluate_arm(
        model,
        Ensemble.of(scorer),
        preferences=preferences(),
        pools=pool_of(*VALUES),
        judge=judge,
        seed=0,
        **options,
    )


def test_a_pointwise_model_in_the_embedded_world_has_the_keys_of_the_contract(gold, planted):
    found = evaluate("hf50", planted(1.0), gold)
    assert set(found.metrics) == ALL | ON_POLICY | POINTWISE | GOLD
    assert set(found.curves) == {"reliability", "length", "best_of_n"}
    assert set(found.curves["best_of_n"][0]) == BEST_OF_N | interval("gold")
    bins = {"accuracy", "pairs"}
    assert set(found.curves["reliability"][0]) == {"p_low", "p_high", "p_mean"} | bins
    edges = {"length_difference_low", "length_difference_high"}
    assert set(found.curves["length"][0]) == edges | bins


@pytest.mark.parametrize("comparator", ["embedding", "joint"])
def test_a_pairwise_base_has_no_best_of_n_and_no_pool_scores(gold, untrained, comparator):
    found = evaluate("base", untrained(comparator), gold)
    assert set(found.metrics) == ALL | ON_POLICY
    assert set(found.curves) == {"reliability", "length"}
    assert POOL_SCORES.validate(found.pool_scores, "here").height == 0


def test_rewards_that_the_judge_gave_before_change_nothing(gold, planted, monkeypatch):
    asked = evaluate("hf50", planted(1.0), gold)
    rewards = judge_pools(gold, pool_of(*VALUES))
    monkeypatch.setattr("westofn.evaluation.arms.judge_pools", None)  # it is not asked again
    told = evaluate("hf50", planted(1.0), gold, judged=rewards)
    assert told.metrics == asked.metrics
    assert told.pool_scores.equals(asked.pool_scores)


def test_an_ensemble_is_measured_by_its_mean(gold, planted):
    # Members that mean +3 and -1 times the worth are together a model that means 1 times it.
    def evaluated(*members):
        return evaluate_arm(
            "base",
            Ensemble.of(*members),
            preferences=preferences(),
            pools=pool_of(*VALUES),
            judge=gold,
            seed=0,
        )

    together, one = evaluated(planted(3.0), planted(-1.0)), evaluated(planted(1.0))
    assert together.metrics == pytest.approx(one.metrics)
    assert together.pair_scores.equals(one.pair_scores)
    assert together.pool_scores.equals(one.pool_scores)


def test_an_iteration_has_its_labels_and_likelihoods_too(gold, planted, policy):
    synthetic = west_of_n(planted(0.5), policy)
    found = evaluate("k1", planted(1.0), gold, synthetic=synthetic)
    expected = ALL | ON_POLICY | POINTWISE | GOLD | COUNTS | LIKELIHOODS | LABELS
    assert set(found.metrics) == expected
    keys = {"n", "accuracy", "low", "high", "bound", "bound_q95", "p_true"}
    assert [set(point) for point in found.curves["label_accuracy"]] == [keys, keys]


def test_without_gold_nothing_that_needs_it_is_there(planted, policy):
    judge = AutoraterJudge(planted(1.0))
    found = evaluate("k1", planted(1.0), judge, synthetic=west_of_n(planted(0.5), policy))
    assert set(found.metrics) == ALL | POINTWISE | COUNTS | LIKELIHOODS
    assert set(found.curves) == {"reliability", "length", "best_of_n"}
    assert set(found.curves["best_of_n"][0]) == BEST_OF_N
    assert found.metrics["judge"] == found.metrics["high_confidence_by"] == "autorater"


def test_the_model_that_is_gold_is_right_and_takes_the_best_everywhere(gold, planted):
    found = evaluate("hf100", planted(1.0), gold).metrics
    assert found["accuracy"] == found["on_policy_accuracy"] == 1.0
    assert found["best_of_n_gold"] == (3 + 5 + 4) / 3
    assert found["test_pairs"] == len(TEST)


def test_the_tables_hold_both_sets_under_the_models_name(gold, planted):
    found = evaluate("hf50", planted(1.0), gold)
    pairs = PAIR_SCORES.validate(found.pair_scores, "here")
    assert dict(pairs["set"].value_counts().iter_rows()) == {
        "test": len(TEST),
        "on_policy": found.metrics["on_policy_pairs"],
    }
    assert POOL_SCORES.validate(found.pool_scores, "here").height == 12
    assert set(pairs["model"]) == set(found.pool_scores["model"]) == {"hf50"}


def test_measures_by_prompt_are_those_of_the_metrics_and_weigh_by_rows(gold, planted):
    found = evaluate("hf50", planted(-1.0), gold)
    frame = PROMPT_MEASURES.validate(found.by_prompt, "here")
    assert set(frame["model"]) == {"hf50"}
    assert set(frame["measure"]) == set(MEASURES)
    for (measure,), rows in frame.group_by("measure"):
        mean = (rows["value"] * rows["rows"]).sum() / rows["rows"].sum()
        assert mean == pytest.approx(found.metrics[measure]), measure
    pairs = frame.filter(pl.col("measure") == "on_policy_accuracy")["rows"].sum()
    assert pairs == found.metrics["on_policy_pairs"]


def test_a_pairwise_model_has_its_accuracies_by_prompt_alone(gold, untrained):
    found = evaluate("base", untrained("embedding"), gold)
    assert set(found.by_prompt["measure"]) == {"accuracy", "on_policy_accuracy"}


def test_what_is_written_is_finite_and_the_same_at_the_second_run(
    gold, untrained, planted, policy, tmp_path
):
    runs = []
    for path in (tmp_path / "a.json", tmp_path / "b.json"):
        synthetic = west_of_n(untrained("embedding"), policy)
        found = evaluate("k1", untrained("pointwise"), gold, synthetic=synthetic)
        write_json({"metrics": found.metrics, **found.curves}, path)
        numbers = [value for value in found.metrics.values() if not isinstance(value, str)]
        assert all(math.isfinite(value) for value in numbers)
        runs.append(path.read_bytes())
    assert runs[0] == runs[1]
    assert read_json(path)["metrics"]["judge"] == "gold"


def test_pools_in_which_all_candidates_tie_leave_on_policy_out(gold, planted):
    pool = pool_of([1, 1, 1], [2, 2, 2])
    found = evaluate_arm(
        "hf50", Ensemble.of(planted(1.0)), preferences=preferences(), pools=pool, judge=gold, seed=0
    )
    assert set(found.metrics) == ALL | POINTWISE | GOLD
    assert found.metrics["best_of_n_win_rate"] == 0.5
