from __future__ import annotations

from collections.abc import Sequence

from westofn.sources.token_lengths import Lengths, LimitEffect, lengths_of, token_lengths


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def test_a_limit_cuts_longer_prompts_and_drops_rows_with_a_longer_response() -> None:
    texts = {
        "prompt": ["a", "a b c", "a b c d"],
        "chosen": ["a b c", "a", "a b"],
        "rejected": ["a b c d", "a", "a b c"],
    }
    report = token_lengths(texts, words, [(2, 2), (3, 3), (9, 9)])
    assert report.rows == 3
    assert report.columns["prompt"] == Lengths(median=3, high=4, longest=4)
    assert list(report.effects) == [
        LimitEffect(2, 2, prompts_cut=2, responses_dropped=3, rows_dropped=2),
        LimitEffect(3, 3, prompts_cut=1, responses_dropped=1, rows_dropped=1),
        LimitEffect(9, 9, prompts_cut=0, responses_dropped=0, rows_dropped=0),
    ]


def test_equal_texts_are_counted_once_by_the_tokenizer() -> None:
    asked: list[str] = []

    def count(texts: Sequence[str]) -> list[int]:
        asked.extend(texts)
        return words(texts)

    token_lengths({"prompt": ["a", "a"], "chosen": ["b", "a"]}, count, [])
    assert asked == ["a", "b"]


def test_prompts_alone_drop_nothing() -> None:
    report = token_lengths({"prompt": ["a b", "a"]}, words, [(1, 1)])
    assert list(report.effects) == [LimitEffect(1, 1, 1, 0, 0)]


def test_ninety_five_percent_of_a_hundred_lengths_are_at_most_the_high_one() -> None:
    assert lengths_of(range(1, 101)) == Lengths(median=50.5, high=95, longest=100)
    assert lengths_of([]) == Lengths(median=0, high=0, longest=0)
