from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.filtering import (
    FilterDecision,
    filter_pairs,
    normalise_logprob,
    quantile_threshold,
)

UNIT = st.floats(0, 1)
LOGLIK = st.floats(-50, 0)
PAIRS = st.lists(st.tuples(UNIT, LOGLIK, LOGLIK), min_size=1, max_size=30)


def columns(pairs) -> list[list[float]]:
    return [list(column) for column in zip(*pairs, strict=True)]


def test_confidence_filter_keeps_what_reaches_the_quantile() -> None:
    # The median of 0.5, 0.6, 0.7, 0.8, 0.9 is 0.7, which stays.
    result = filter_pairs([0.9, 0.5, 0.7, 0.6, 0.8], [-1] * 5, [-1] * 5, 0.5, None)
    assert result.kept.tolist() == [True, False, True, False, True]
    assert result.dropped_by.tolist() == [None, "confidence", None, "confidence", None]
    assert result.confidence_threshold == 0.7
    assert result.likelihood_threshold is None


def test_likelihood_filter_needs_both_responses_and_pools_their_quantile() -> None:
    # The eight log-likelihoods are -8 .. -1; their 2/7-quantile is the third, -6,
    # which a chosen and a rejected response miss and another rejected one just reaches.
    result = filter_pairs([0.9] * 4, [-1, -8, -3, -4], [-5, -2, -6, -7], 0, 2 / 7)
    assert result.likelihood_threshold == -6
    assert result.dropped_by.tolist() == [None, "likelihood", None, "likelihood"]
    assert result.confidence_threshold is None


def test_a_pair_that_fails_both_tests_counts_as_confidence() -> None:
    result = filter_pairs([0.5, 0.9], [-9, -1], [-9, -1], 0.9, 0.9)
    assert result.dropped_by.tolist() == ["confidence", None]


@pytest.mark.parametrize("off", [None, 0, 0.0])
def test_both_filters_off_keep_everything(off) -> None:
    result = filter_pairs([0.1, 0.9], [-99, -1], [-1, -99], off, off)
    assert result.kept.tolist() == [True, True]
    assert result.confidence_threshold is None
    assert result.likelihood_threshold is None


@pytest.mark.parametrize("quantile", [0.1, 0.5, 1.0])
def test_pairs_that_are_all_equal_are_all_kept(quantile: float) -> None:
    result = filter_pairs([0.3] * 7, [-0.1] * 7, [-0.1] * 7, quantile, quantile)
    assert result.kept.all()


@given(PAIRS, UNIT, UNIT)
def test_every_pair_is_kept_or_has_a_reason(pairs, confidence, likelihood) -> None:
    result = filter_pairs(*columns(pairs), confidence, likelihood)
    assert len(result.kept) == len(result.dropped_by) == len(pairs)
    for kept, reason in zip(result.kept, result.dropped_by, strict=True):
        assert (reason is None) if kept else reason in ("confidence", "likelihood")


@given(PAIRS, UNIT, UNIT)
def test_a_higher_quantile_keeps_a_subset(pairs, one, other) -> None:
    low, high = sorted((one, other))
    p, chosen, rejected = columns(pairs)
    for loose, strict in [((low, None), (high, None)), ((None, low), (None, high))]:
        many = filter_pairs(p, chosen, rejected, *loose).kept
        few = filter_pairs(p, chosen, rejected, *strict).kept
        assert (many | ~few).all()


@given(PAIRS, UNIT)
def test_the_most_confident_pair_is_always_kept(pairs, quantile) -> None:
    p, chosen, rejected = columns(pairs)
    assert filter_pairs(p, chosen, rejected, quantile, None).kept[int(np.argmax(p))]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), UNIT)
def test_threshold_is_numpys_linear_quantile(values, q) -> None:
    assert quantile_threshold(values, q) == pytest.approx(np.quantile(values, q), abs=1e-2)


@pytest.mark.parametrize(("q", "threshold"), [(0, 1.0), (0.25, 1.75), (0.5, 2.5), (1, 4.0)])
def test_threshold_interpolates_linearly(q: float, threshold: float) -> None:
    assert quantile_threshold([3.0, 1.0, 4.0, 2.0], q) == threshold


def test_a_threshold_that_falls_on_a_value_is_that_value() -> None:
    # In binary 0.07 * 100 is 7.000000000000001; without rounding the value 7 would be dropped.
    values = np.arange(101.0)
    assert 0.07 * 100 > 7
    for percent in range(101):
        assert quantile_threshold(values, percent / 100) == percent


def test_logprobs_are_divided_by_tokens_or_left() -> None:
    assert normalise_logprob([-6.0, -5.0], [3, 2], "per_token").tolist() == [-2.0, -2.5]
    assert normalise_logprob([-6.0, -5.0], [3, 2], "sum").tolist() == [-6.0, -5.0]


def test_decisions_are_written_as_plain_text() -> None:
    assert [str(decision) for decision in FilterDecision] == [
        "kept",
        "confidence",
        "likelihood",
        "empty_response",
        "identical",
        "cut",
        "too_long",
    ]
    reasons = filter_pairs([0.1, 0.9], [-1, -1], [-1, -1], 1.0, None).dropped_by
    assert type(reasons[0]) is str


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: filter_pairs([], [], [], None, None), "p_chosen has shape"),
        (lambda: filter_pairs([1.5], [-1], [-1], None, None), "needs probabilities"),
        (lambda: filter_pairs([0.5], [-1, -1], [-1], None, None), "shapes differ"),
        (lambda: filter_pairs([0.5], [np.nan], [-1], None, None), "chosen_loglik has 1 values"),
        (lambda: filter_pairs([0.5], [-1], [-np.inf], None, None), "rejected_loglik has 1"),
        (lambda: filter_pairs([0.5], [-1], [-1], 1.1, None), "q is 1.1, needs a number in"),
        (lambda: filter_pairs([0.5], [-1], [-1], None, -0.1), "q is -0.1, needs a number in"),
        (lambda: quantile_threshold([], 0.5), "at least one row"),
        (lambda: quantile_threshold([1.0], float("nan")), "q is nan"),
        (lambda: normalise_logprob([-1.0], [0], "per_token"), "n_tokens has a row of 0"),
        (lambda: normalise_logprob([-1.0], [1, 1], "sum"), "shapes differ"),
        (lambda: normalise_logprob([-1.0], [1], "mean"), "needs 'sum' or 'per_token'"),
    ],
)
def test_unfit_inputs_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
