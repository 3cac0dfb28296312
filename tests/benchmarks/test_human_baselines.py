"""Length, and words and length, on pairs whose answer is known."""

from __future__ import annotations

import polars as pl
import pytest
import torch

from benchmarks.human.baselines import (
    STRENGTHS,
    PairFeatures,
    baselines,
    fit_logistic,
    linear_baseline,
)
from tests.benchmarks.pairs import frame, polite


def pairs_of(*sides: tuple[str, str]) -> pl.DataFrame:
    return frame([(f"p{i}", *pair) for i, pair in enumerate(sides)])


def test_length_counts_words_and_a_tie_is_a_tie() -> None:
    test = pairs_of(
        ("one two three", "a-very-long-word"),  # 3 words against 4
        ("one, two; three!", "one"),
        ("one two", "three four"),
    )
    found = baselines(frame(polite(8)), frame(polite(2)), test)
    assert found["longest"].margins.tolist() == [-1.0, 2.0, 0.0]
    assert found["shortest"].margins.tolist() == [1.0, -2.0, 0.0]
    assert found["shortest"].scores(["one two", ""]).tolist() == [-2.0, 0.0]


def test_a_word_that_people_like_is_learnt_where_length_says_nothing() -> None:
    found = linear_baseline(frame(polite(8)), frame(polite(2)), frame(polite(3)))
    assert bool((found.margins > 0).all())
    # All strengths are right on all validation pairs, and the smallest of equals is taken.
    assert found.facts == {"c": STRENGTHS[0], "validation_accuracy": 1.0}


def test_scores_of_texts_differ_by_the_margin_of_their_pair() -> None:
    test = frame(polite(3))
    found = linear_baseline(frame(polite(8)), frame(polite(2)), test)
    chosen, rejected = (found.scores(test[side].to_list()) for side in ("chosen", "rejected"))
    torch.testing.assert_close(chosen - rejected, found.margins)


def test_the_strength_is_the_one_of_the_best_validation_accuracy() -> None:
    # The longer response is liked ten times of eleven, and words tell the eleventh pair, which a
    # strong penalty does not let in. Validation has a pair of the eleventh kind.
    told = ("kind", "rude rude rude rude rude")
    train = pairs_of(*[("one two three four", "one")] * 30, *[told] * 3)
    found = linear_baseline(train, pairs_of(told), frame(polite(1)))
    assert found.facts["validation_accuracy"] == 1.0
    assert found.facts["c"] > STRENGTHS[0]


def test_the_labeled_half_does_not_know_the_words_of_the_other() -> None:
    train = frame([*polite(6), *polite(6, "kindly")], [True] * 6 + [False] * 6)
    found = baselines(train, frame(polite(2)), pairs_of(("kindly", "unheard")))
    assert float(found["words_hf50"].margins[-1]) == 0.0
    assert float(found["words_hf100"].margins[-1]) > 0.0


def test_where_all_pairs_are_labeled_the_first_half_is_hf50() -> None:
    train = frame([*polite(6), *polite(6, "kindly")])
    found = baselines(train, frame(polite(2)), pairs_of(("kindly", "unheard")))
    assert float(found["words_hf50"].margins[-1]) == 0.0


def test_swapping_responses_turns_the_features_around() -> None:
    pairs = pairs_of(("a b b", "c"), ("a", "c d"), ("b a", "c"))
    swapped = pairs.rename({"chosen": "rejected", "rejected": "chosen"})
    features = PairFeatures.fit(pairs)
    assert torch.equal(features.of(pairs), -features.of(swapped))
    assert features.of(pairs).abs().sum() > 0


def test_features_by_hand() -> None:
    # "a" is in 3 of 6 responses, "c" in 3, all else in fewer than 3: idf log(7/4) + 1 for both, so
    # one known word alone has weight 1. Lengths differ by 2, −1 and 1 words: root mean square √2.
    pairs = pairs_of(("a b b", "c"), ("a", "c d"), ("e a", "c"))
    features = PairFeatures.fit(pairs)
    assert dict(features.column) == {"a": 0, "c": 1}
    assert features.idf.tolist() == pytest.approx([1.5596, 1.5596], abs=1e-4)
    rows = torch.tensor([[1.0, -1.0, 2.0], [1.0, -1.0, -1.0], [1.0, -1.0, 1.0]]).double()
    expected = rows / torch.tensor([1.0, 1.0, 2**0.5]).double()
    torch.testing.assert_close(features.of(pairs), expected)


def test_a_response_has_length_one() -> None:
    pairs = pairs_of(("a a c", "x"), ("a", "c"), ("a", "c"), ("y", "c"))
    row = PairFeatures.fit(pairs).of(pairs)[0, :2]
    # Both words are in 3 and 4 of 8: weights 2 (log(9/4) + 1) and log(9/5) + 1, then normalised.
    assert row.norm().item() == pytest.approx(1.0)
    assert (row[0] / row[1]).item() == pytest.approx(2 * 1.81093 / 1.58779, rel=1e-4)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_weights_are_where_the_gradient_is_zero(strength: float) -> None:
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(1)).double()
    weights = fit_logistic(features, strength)
    # d/dw of C Σ −log σ(x·w) + |w|² / 2 is w − C Σ x σ(−x·w).
    gradient = weights - strength * (features.T @ torch.sigmoid(-(features @ weights)))
    assert float(weights.norm()) > 0.01
    assert float(gradient.abs().max()) < 1e-4 * max(1.0, strength)
