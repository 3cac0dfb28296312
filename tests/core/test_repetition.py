from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from westofn.core.repetition import identical_samples, repeated_ngrams


def test_a_loop_repeats_all_but_its_first_period() -> None:
    # 100 tokens have 97 4-grams, of which a loop of 3 has 3 kinds.
    assert repeated_ngrams([[1, 2, 3] * 33 + [1]]) == 94 / 97


def test_what_two_responses_share_is_no_repetition_within_one() -> None:
    assert repeated_ngrams([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]) == 0.0


def test_without_four_tokens_nothing_repeats() -> None:
    assert repeated_ngrams([[1, 1, 1], []]) == repeated_ngrams([]) == 0.0


def test_without_two_samples_nothing_is_identical() -> None:
    assert identical_samples([(1, 1), (1, 1)]) == identical_samples([]) == 0.0


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=2), min_size=1))
def test_identical_samples_range_from_none_to_all(pools: list[list[str]]) -> None:
    share = identical_samples((len(pool), len(set(pool))) for pool in pools)
    assert 0.0 <= share <= 1.0
    assert (share == 0.0) == all(len(set(pool)) == len(pool) for pool in pools)
    assert (share == 1.0) == all(len(set(pool)) == 1 for pool in pools)
