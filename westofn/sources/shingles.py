"""Shingles: the distinct sequences of five tokens of texts, as hashes and as ranks by rarity."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from westofn.progress import working

SHINGLE_TOKENS = 5
TOKEN = re.compile(r"\w+")
_ROWS_AT_ONCE = 8192
_VALUES_AT_ONCE = 2**20
# Odd 64-bit constants, one per position in a shingle, so that the hash depends on token order.
_PLACES = np.array(
    [
        0x9E3779B97F4A7C15,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0xD6E8FEB86659FD93,
        0xA0761D6478BD642F,
    ],
    dtype=np.uint64,
)


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths in one array, which takes less memory than an array for each.

    Attributes:
        values: the values of all rows, row after row.
        starts: (rows + 1,) where each row starts, and where the last one ends.
    """

    values: NDArray[Any]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[Any], sizes: NDArray[np.int64]) -> Ragged:
        """Rows of these sizes."""
        return cls(values, np.concatenate([[0], np.cumsum(sizes)]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.starts[row] : self.starts[row + 1]]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(rows,) lengths of the rows."""
        return np.diff(self.starts)

    def where(self, chosen: NDArray[np.bool_]) -> Ragged:
        """The rows with some of the values, (values,); rows may be empty."""
        before = np.concatenate([[0], np.cumsum(chosen)])
        return Ragged(self.values[chosen], before[self.starts])

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        """Some of the rows, in ascending order."""
        kept = np.zeros(len(self), np.bool_)
        kept[rows] = True
        return Ragged.of(self.values[np.repeat(kept, self.sizes)], self.sizes[rows])

    def blocks(self, count: int) -> Iterator[Ragged]:
        """`count` rows at a time."""
        for first in range(0, len(self), count):
            starts = self.starts[first : first + count + 1]
            yield Ragged(self.values[starts[0] : starts[-1]], starts - starts[0])


def shingles_of(texts: Sequence[str]) -> Ragged:
    """Hash the distinct shingles of each text, in ascending order; a shorter text is one shingle.

    Returns:
        A row of uint64 for each text, never empty.
    """
    values, sizes = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    with working("shingles", len(texts), "prompts") as progress:
        for start in range(0, len(texts), _ROWS_AT_ONCE):
            block = texts[start : start + _ROWS_AT_ONCE]
            rows = _shingles(block)
            values.append(rows.values)
            sizes.append(rows.sizes)
            progress.advance(len(block))
    return Ragged.of(np.concatenate(values), np.concatenate(sizes))


def rank_by_rarity(sets: Ragged, groups: NDArray[np.int64]) -> tuple[Ragged, NDArray[np.int32]]:
    """Replace shingles by ranks, rarest first.

    Args:
        sets: distinct shingles of each text.
        groups: (texts,) numbers of the groups that the texts belong to.

    Returns:
        The ranks of each text, int32 in ascending order, and how many groups hold each rank.
    """
    distinct = np.unique(sets.values)
    places = Ragged(np.empty(len(sets.values), np.int32), sets.starts)
    for start in range(0, len(places.values), _VALUES_AT_ONCE):
        part = slice(start, start + _VALUES_AT_ONCE)
        places.values[part] = np.searchsorted(distinct, sets.values[part])
    counts = _groups_holding(places, groups, len(distinct))
    by_rarity = np.argsort(counts, kind="stable")
    rank = np.empty(len(distinct), np.int32)
    rank[by_rarity] = np.arange(len(distinct), dtype=np.int32)
    ranks = [
        _in_order(Ragged(rank[block.values], block.starts)).values
        for block in places.blocks(_ROWS_AT_ONCE)
    ]
    return Ragged(np.concatenate(ranks), sets.starts), counts[by_rarity]


def _groups_holding(places: Ragged, groups: NDArray[np.int64], size: int) -> NDArray[np.int32]:
    """Count the groups that hold each of `size` shingles."""
    alone = np.bincount(groups)[groups] == 1
    counts = np.bincount(places.values[np.repeat(alone, places.sizes)], minlength=size)
    held: dict[int, list[NDArray[np.int32]]] = defaultdict(list)
    for text in np.flatnonzero(~alone).tolist():
        held[int(groups[text])].append(places[text])
    for parts in held.values():
        counts[np.unique(np.concatenate(parts))] += 1
    return counts.astype(np.int32)


def _shingles(texts: Sequence[str]) -> Ragged:
    tokens = [TOKEN.findall(text) or [text] for text in texts]
    lengths = np.array([len(part) for part in tokens])
    hashes = np.fromiter((_token_hash(token) for part in tokens for token in part), np.uint64)
    rows = np.repeat(np.arange(len(texts)), lengths)
    left = np.cumsum(lengths)[rows] - np.arange(len(rows))  # tokens from here to the text's end
    sums = np.zeros(len(rows), np.uint64)
    for place, factor in enumerate(_PLACES):
        reach = np.flatnonzero(left > place)
        sums[reach] += hashes[reach + place] * factor
    whole = left >= np.minimum(SHINGLE_TOKENS, lengths)[rows]
    in_order = _in_order(Ragged.of(sums[whole], np.bincount(rows[whole], minlength=len(texts))))
    values, starts = in_order.values, in_order.starts[:-1]
    new = np.concatenate([[True], values[1:] != values[:-1]])
    new[starts] = True
    return in_order.where(new)


def _in_order(rows: Ragged) -> Ragged:
    """Sort the values of every row."""
    order = np.lexsort((rows.values, np.repeat(np.arange(len(rows)), rows.sizes)))
    return Ragged(rows.values[order], rows.starts)


@lru_cache(maxsize=1 << 18)
def _token_hash(token: str) -> int:
    return int.from_bytes(hashlib.blake2b(token.encode(), digest_size=8).digest(), "big")
