"""Buckets of MinHash bring similar texts together; the exact search stays below its limit."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from westofn.errors import ParameterError
from westofn.sources import near_duplicates
from westofn.sources.minhash import MISSED, PERMUTATIONS, band_rows, bucket_keys
from westofn.sources.near_duplicates import DisjointSets, join_near_duplicates
from westofn.sources.shingles import Ragged, shingles_of

TEXTS = [" ".join(f"w{row}x{word}" for word in range(40)) for row in range(30)]
COPIES = [f"{text} again" for text in TEXTS]


@pytest.mark.parametrize("jaccard", [0.3, 0.5, 0.8, 0.95])
def test_bands_are_as_long_as_the_share_of_missed_pairs_allows(jaccard: float) -> None:
    def missed(rows: int) -> float:
        return float((1 - jaccard**rows) ** (PERMUTATIONS // rows))

    rows = band_rows(jaccard)
    assert missed(rows) <= MISSED < missed(rows + 1)


def test_texts_of_equal_sets_share_every_bucket_and_others_share_none() -> None:
    pytest.importorskip("rensa")
    sets = shingles_of([TEXTS[0], TEXTS[1], TEXTS[0]])
    keys = bucket_keys(sets, 0.8)
    assert len(keys[1]) == 0
    assert len(keys[0]) == PERMUTATIONS // band_rows(0.8)
    assert keys[0].tolist() == keys[2].tolist()
    assert bucket_keys(sets, 0.8).values.tolist() == keys.values.tolist()


def test_texts_without_shingles_are_in_no_bucket() -> None:
    pytest.importorskip("rensa")
    sets = Ragged.of(np.array([7, 8], np.int32), np.array([0, 1, 0, 1]))
    assert len(bucket_keys(sets, 0.8).values) == 0


def test_copies_among_more_texts_than_the_exact_search_takes_join() -> None:
    pytest.importorskip("rensa")
    groups = DisjointSets(60)
    joined = join_near_duplicates(TEXTS + COPIES, range(60), groups, 0.8, exact_texts=0).joined
    assert len(joined) == 30
    assert [groups.root(text) for text in range(60)] == [*range(30), *range(30)]


def test_the_search_is_exact_up_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def noted(sets: Ragged, jaccard: float) -> Ragged:
        asked.append(len(sets))
        return Ragged.of(np.empty(0, np.int64), np.zeros(len(sets), np.int64))

    monkeypatch.setattr(near_duplicates, "bucket_keys", noted)
    for limit, calls in ((60, []), (59, [60])):
        join_near_duplicates(TEXTS + COPIES, range(60), DisjointSets(60), 0.8, limit)
        assert asked == calls


def test_without_the_package_the_line_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rensa", None)
    with pytest.raises(
        ParameterError, match=r"needs rensa, which is not installed: pip install"
    ) as e:
        join_near_duplicates(TEXTS, range(30), DisjointSets(30), 0.8, exact_texts=0)
    assert str(e.value).endswith("set prepare.files.near_duplicates to off")
