from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from westofn.artifacts.decisions import DECISIONS
from westofn.artifacts.nested_pairs import NESTED_PAIRS
from westofn.artifacts.pairs import PAIRS
from westofn.core.comparators import margins
from westofn.core.selection import nested_best_worst
from westofn.errors import DataError, ModelError
from westofn.evaluation import synthetic
from westofn.evaluation.synthetic import SyntheticInputs, compare_pools, evaluate_synthetic
from westofn.models.ensemble import Anchor, Ensemble
from westofn.models.policy import log_likelihood
from westofn.models.scoring import pair_margins, score_pools

from .planted import pool_of, preference_frame, text

VALUES = [[0, 1, 2, -3], [5, 4, -1, 2], [-2, 3, 0, 4]]
HUMAN = [("h0", text(2, 1), "so"), ("h1", "so", text(-1, 2))]


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, dtype=float)))


def decisions(pool, dropped_by):
    return DECISIONS.validate(
        DECISIONS.frame(
            {
                "prompt_id": pool.prompt_ids,
                "kept": [reason is None for reason in dropped_by],
                "dropped_by": dropped_by,
            }
        ),
        "here",
    )


def selected(pool, pairs, p_chosen):
    """Pairs (chosen_index, rejected_index) of the prompts in order."""
    return PAIRS.validate(
        PAIRS.frame(
            {
                "prompt_id": pool.prompt_ids,
                "chosen_index": [chosen for chosen, _ in pairs],
                "rejected_index": [rejected for _, rejected in pairs],
                "p_chosen": p_chosen,
                "pool_std": [None] * len(pairs),
                "fault": [None] * len(pairs),
            }
        ),
        "here",
    )


def nested_of(pool, n, pairs, p_chosen):
    return NESTED_PAIRS.validate(
        NESTED_PAIRS.frame(
            {
                "prompt_id": pool.prompt_ids,
                "n": [n] * len(pairs),
                "chosen_index": [chosen for chosen, _ in pairs],
                "rejected_index": [rejected for _, rejected in pairs],
                "p_chosen": p_chosen,
            }
        ),
        "here",
    )


def west_of_n(base, policy, values=VALUES, dropped_by=None):
    """What won_select and filter write for a model that embeds each response once."""
    pool = pool_of(*values)
    features = torch.stack(score_pools(base, pool.prompts, pool.responses))
    found = nested_best_worst(margins(features), (2, 4))
    indices = {
        n: list(zip(pair.best.tolist(), pair.worst.tolist(), strict=True))
        for n, pair in found.items()
    }
    p_chosen = {n: pair.p_best.tolist() for n, pair in found.items()}
    return SyntheticInputs(
        base=Ensemble.of(base),
        policy=policy,
        pools=pool,
        pairs=selected(pool, indices[4], p_chosen[4]),
        nested=pl.concat([nested_of(pool, n, indices[n], p_chosen[n]) for n in found]),
        decisions=decisions(pool, dropped_by or [None] * len(values)),
        human=preference_frame(HUMAN, split="train"),
    )


def test_a_base_that_is_gold_labels_rightly_without_error(gold, planted, policy):
    found = evaluate_synthetic(west_of_n(planted(1.0), policy), gold, seed=0)
    got = found.metrics
    assert [got[f"label_accuracy{end}"] for end in ("", "_low", "_high")] == [1.0, 1.0, 1.0]
    assert got["label_accuracy_random"] == 1.0  # no two candidates of a pool tie
    assert got["label_epsilon"] == pytest.approx(0.0, abs=1e-6)
    # Best against worst: 2 over -3, 5 over -1, 4 over -2.
    assert got["label_p_true"] == pytest.approx(sigmoid([5, 6, 6]).mean())
    assert got["label_bound"] == pytest.approx(got["label_p_true"], abs=1e-6)
    assert got["label_epsilon_pairs"] == 3 * 6


def test_a_constant_base_has_random_labels_and_the_gap_of_the_surest_pair(gold, planted, policy):
    found = evaluate_synthetic(west_of_n(planted(0.0), policy), gold, seed=0)
    got = found.metrics
    assert got["label_accuracy_random"] == 0.5
    # P = 1/2 everywhere; gold is surest of 5 over -1 and 4 over -2: sigmoid(6).
    assert got["label_epsilon"] == pytest.approx(sigmoid(6) - 0.5)
    assert got["label_bound"] == pytest.approx(1 - sigmoid(6))
    # Ties select candidate 0 over 1: 0 over 1, 5 over 4, -2 over 3.
    assert got["label_accuracy"] == pytest.approx(1 / 3)
    assert got["label_p_true"] == pytest.approx(sigmoid([-1, 1, -5]).mean())


def test_the_curve_has_the_nested_pairs_of_every_size(gold, planted, policy):
    found = evaluate_synthetic(west_of_n(planted(-1.0), policy, VALUES[:2]), gold, seed=0)
    assert [point["n"] for point in found.label_accuracy] == [2, 4]
    # The reversed base prefers 0 over 1 and 4 over 5 among two, -3 over 2 and -1 over 5 among 4.
    for point, margin in zip(found.label_accuracy, ([-1, -1], [-5, -6]), strict=True):
        assert point["accuracy"] == point["low"] == point["high"] == 0.0
        assert point["p_true"] == pytest.approx(sigmoid(margin).mean())
        assert 0.0 <= point["bound"] <= point["bound_q95"]
    assert found.metrics["label_accuracy"] == 0.0
    assert found.metrics["label_accuracy_random"] == 0.0
    assert found.metrics["label_epsilon"] == pytest.approx(sigmoid(6) - sigmoid(-6))


def test_ties_of_gold_count_half(gold, planted, policy):
    inputs = west_of_n(planted(0.0), policy, [[1, 1, 1, 1], [1, 0, 1, 1]])
    found = evaluate_synthetic(inputs, gold, seed=0).metrics
    assert found["label_accuracy"] == (0.5 + 1.0) / 2


@pytest.mark.parametrize("comparator", ["pointwise", "embedding"])
def test_the_bound_with_the_largest_gap_holds_for_every_pair(gold, untrained, policy, comparator):
    rng = np.random.default_rng(0)
    values = rng.integers(-4, 5, size=(12, 4)).tolist()
    found = evaluate_synthetic(west_of_n(untrained(comparator), policy, values), gold, seed=0)
    got = found.metrics
    assert got["label_bound"] <= got["label_p_true"] + 1e-6
    assert got["label_bound"] <= got["label_bound_q95"]
    assert 0.1 < got["label_epsilon_q95"] <= got["label_epsilon"] <= 1.0
    assert 0.0 <= got["label_bound_q95_holds"] <= 1.0
    for point in found.label_accuracy:
        assert point["bound"] <= point["p_true"] + 1e-6
        assert point["low"] <= point["accuracy"] <= point["high"]


def test_random_pairs_are_what_the_first_two_candidates_give_on_average(gold, untrained, policy):
    rng = np.random.default_rng(1)
    values = [rng.permutation(range(-2, 2)).tolist() for _ in range(150)]
    found = evaluate_synthetic(west_of_n(untrained("embedding"), policy, values), gold, seed=0)
    got, two = found.metrics, found.label_accuracy[0]
    assert two["low"] <= got["label_accuracy_random"] <= two["high"]
    width = got["label_accuracy_random_high"] - got["label_accuracy_random_low"]
    assert width < two["high"] - two["low"]


def test_a_selected_pair_outside_the_sample_still_counts_for_the_largest_gap(
    gold, planted, policy, monkeypatch
):
    monkeypatch.setattr(synthetic, "MAX_COMPARISONS", 3)
    inputs = west_of_n(planted(1.0), policy)
    sure = inputs.pairs.with_columns(p_chosen=pl.lit(0.0, dtype=pl.Float32))
    found = evaluate_synthetic(replace(inputs, pairs=sure), gold, seed=0).metrics
    assert found["label_epsilon_pairs"] == 3
    assert found["label_epsilon_q95"] == pytest.approx(0.0, abs=1e-6)
    assert found["label_epsilon"] == pytest.approx(sigmoid(6))


def test_epsilon_is_measured_on_a_sample_of_prompts_where_there_are_many(
    gold, planted, policy, monkeypatch
):
    monkeypatch.setattr(synthetic, "MAX_PROMPTS", 2)
    found = evaluate_synthetic(west_of_n(planted(1.0), policy), gold, seed=0).metrics
    assert found["label_epsilon_pairs"] == 2 * 6
    # No gap and no wrong label only if model and gold are read off the same prompts.
    assert found["label_epsilon"] == pytest.approx(0.0, abs=1e-6)
    assert found["label_accuracy_random"] == 1.0


def test_a_joint_base_is_measured_on_a_sample_of_pairs(gold, untrained, policy):
    values = [list(range(-4, 4))] * 3
    base, pool = untrained("joint"), pool_of(*values)
    drawn, margin = compare_pools(Ensemble.of(base), pool, seed=0)
    assert margin.shape == (3, synthetic.JOINT_PAIRS_PER_PROMPT)
    assert (drawn.first < drawn.second).all()
    inputs = SyntheticInputs(
        base=Ensemble.of(base),
        policy=policy,
        pools=pool,
        pairs=selected(pool, [(7, 0), (0, 7), (6, 1)], [0.9, 0.8, 0.7]),
        nested=nested_of(pool, 8, [(7, 0), (0, 7), (6, 1)], [0.9, 0.8, 0.7]),
        decisions=decisions(pool, [None] * 3),
        human=preference_frame(HUMAN, split="train"),
    )
    found = evaluate_synthetic(inputs, gold, seed=0).metrics
    assert found["label_accuracy"] == pytest.approx(2 / 3)
    assert found["label_epsilon_pairs"] == 24
    assert found["label_epsilon"] >= 0.8 - sigmoid(-7)


@pytest.mark.parametrize("comparator", ["embedding", "joint"])
def test_an_ensembles_margins_of_a_pool_are_the_members_mean(comparator, untrained):
    pool = pool_of(*VALUES)
    one, two = untrained(comparator), untrained(comparator)
    with torch.no_grad():
        two.model.head.weight.mul_(-0.5)
    both = [compare_pools(Ensemble.of(member), pool, seed=0)[1] for member in (one, two)]
    _, together = compare_pools(Ensemble.of(one, two), pool, seed=0)
    assert abs(both[0] - both[1]).max() > 0.1
    assert together == pytest.approx((both[0] + both[1]) / 2, abs=1e-5)


@pytest.mark.parametrize("comparator", ["embedding", "joint"])
def test_an_anchored_teachers_margins_are_the_weighted_mean(comparator, untrained):
    pool = pool_of(*VALUES)
    student, base = untrained("pointwise"), untrained(comparator)
    anchor = Anchor(Ensemble.of(base), 0.25)
    drawn, together = compare_pools(Ensemble.of(student), pool, 0, anchor)
    pairs = [
        (pool.prompts[p], pool.responses[p][a], pool.responses[p][b])
        for p in range(len(pool.prompts))
        for a, b in zip(drawn.first[p], drawn.second[p], strict=True)
    ]
    own, of_base = (pair_margins(model, *zip(*pairs, strict=True)) for model in (student, base))
    assert together.ravel() == pytest.approx((0.75 * own + 0.25 * of_base).numpy(), abs=1e-5)


def test_kept_pairs_are_measured_apart_and_reasons_are_counted(gold, planted, policy):
    dropped_by = ["confidence", None, "likelihood"]
    inputs = west_of_n(planted(0.0), policy, dropped_by=dropped_by)
    found = evaluate_synthetic(inputs, gold, seed=0).metrics
    assert (found["pairs_selected"], found["pairs_kept"]) == (3, 1)
    assert found["kept_by_confidence"] == found["kept_by_likelihood"] == 2
    assert found["kept_by_identical"] == found["kept_by_empty_response"] == 3
    assert found["label_accuracy_kept"] == 1.0  # p1: 5 over 4
    assert found["label_p_true_kept"] == pytest.approx(sigmoid(1))


def test_nothing_kept_measures_nothing_of_kept_pairs(gold, planted, policy):
    inputs = west_of_n(planted(1.0), policy, dropped_by=["confidence"] * 3)
    found = evaluate_synthetic(inputs, gold, seed=0).metrics
    assert found["pairs_kept"] == 0
    assert not [key for key in found if key.endswith("_kept") and key != "pairs_kept"]


def test_without_gold_only_counts_and_likelihoods_are_measured(planted, policy):
    found = evaluate_synthetic(west_of_n(planted(1.0), policy), None, seed=0)
    assert found.label_accuracy == []
    assert not [key for key in found.metrics if key.startswith("label_")]
    assert found.metrics["pairs_selected"] == 3


def test_synthetic_likelihoods_are_the_samplers_own_a_token(planted, policy):
    # Candidate i has -0.5 (i + 1) nats a token; gold picks 2 over 3, 0 over 2, 3 over 0.
    found = evaluate_synthetic(west_of_n(planted(1.0), policy), None, seed=0).metrics
    assert found["pair_logprob_per_token_chosen"] == pytest.approx(-0.5 * (3 + 1 + 4) / 3)
    assert found["pair_logprob_per_token_rejected"] == pytest.approx(-0.5 * (4 + 3 + 1) / 3)
    assert found["pair_logprob_per_token"] == pytest.approx(-0.5 * 16 / 6)


def test_human_likelihoods_are_the_policys_mean_over_both_sides(planted, policy):
    found = evaluate_synthetic(west_of_n(planted(1.0), policy), None, seed=0).metrics
    prompts = ["a post about h0", "a post about h1"]
    sides = [log_likelihood(policy, prompts, [pair[s] for pair in HUMAN]) for s in (1, 2)]
    # Tokens with the end token: 4 and 2 of the chosen, 2 and 4 of the rejected.
    assert [side.n_tokens.tolist() for side in sides] == [[4, 2], [2, 4]]
    each = [(side.logprob / side.n_tokens).mean().item() for side in sides]
    assert found["human_logprob_per_token_chosen"] == pytest.approx(each[0])
    assert found["human_logprob_per_token"] == pytest.approx(sum(each) / 2)


def test_a_sample_of_human_pairs_is_measured_where_there_are_many(planted, policy, monkeypatch):
    inputs = west_of_n(planted(1.0), policy)
    alone = evaluate_synthetic(replace(inputs, human=inputs.human[:1]), None, seed=0).metrics
    other = evaluate_synthetic(replace(inputs, human=inputs.human[1:]), None, seed=0).metrics
    monkeypatch.setattr(synthetic, "MAX_HUMAN_PAIRS", 1)
    key = "human_logprob_per_token"
    assert alone[key] != other[key]
    assert evaluate_synthetic(inputs, None, seed=0).metrics[key] in (alone[key], other[key])


def test_a_pair_without_a_decision_is_refused(planted, policy):
    inputs = west_of_n(planted(1.0), policy)
    with pytest.raises(DataError, match="2 rows for 3 pairs, 1 pairs without one"):
        evaluate_synthetic(replace(inputs, decisions=inputs.decisions[:2]), None, seed=0)


def test_pairs_of_other_candidates_are_refused(planted, policy):
    inputs = west_of_n(planted(1.0), policy)
    strangers = inputs.pairs.with_columns(prompt_id="x" + pl.col("prompt_id"))
    decided = inputs.decisions.with_columns(prompt_id="x" + pl.col("prompt_id"))
    with pytest.raises(DataError, match="pairs: 3 of 3 pairs point to candidates"):
        evaluate_synthetic(replace(inputs, pairs=strangers, decisions=decided), None, seed=0)
    too_high = inputs.pairs.with_columns(chosen_index=pl.lit(9, dtype=pl.Int32))
    with pytest.raises(DataError, match="pairs: 3 of 3 pairs point to candidates"):
        evaluate_synthetic(replace(inputs, pairs=too_high), None, seed=0)


def test_a_base_that_answers_nan_is_refused(gold, planted, policy):
    inputs = replace(west_of_n(planted(1.0), policy), base=Ensemble.of(planted(float("nan"))))
    with pytest.raises(ModelError, match=r"model base: 18 of 18 rewards of pool pairs are NaN"):
        evaluate_synthetic(inputs, gold, seed=0)
