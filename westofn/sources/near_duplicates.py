"""Near duplicates among many texts; what many of them share does not count.

Two texts are near duplicates if the Jaccard similarity of their token 5-grams (shingles) is at
least t, both over all shingles and over those that are not boilerplate. A shingle is boilerplate if
more than `boilerplate_limit` groups of texts hold it, such as the words of a template, of a
few-shot preamble or of a passage that many questions share.

In a small set, frequencies say little: the shingles of five copies of one text are as frequent as
those of a template with five questions. Shingles that at most `SMALL_SET_LIMIT` groups hold
therefore still count for two texts that look like copies: one text is the other with words added,
or the two differ in single words and other texts differ from them elsewhere. Texts of one template
differ in one place, or in several words in a row.

Chains are cut: a text joins the group of its near duplicate only if its similarity with the first
text of that group is at least 2t - 1. Jaccard distances obey the triangle inequality, so a near
duplicate of a near duplicate of the first text always joins.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from westofn.progress import track

SHINGLE_TOKENS = 5
FEW = 4
"""Groups that may share a shingle however small the set is."""
SMALL_SET_LIMIT = 10
"""Groups that may share a shingle of texts that look like copies."""

_TOKEN = re.compile(r"\w+")
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

Ranks = NDArray[np.int32]


def boilerplate_limit(size: int) -> int:
    """Return how many groups of a set may hold a shingle before it counts as boilerplate.

    >>> boilerplate_limit(10), boilerplate_limit(1000), boilerplate_limit(60_000)
    (4, 10, 39)
    """
    return max(FEW, round(math.cbrt(size)))


class DisjointSets:
    """Union-find; the smallest member is the root of its set."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, member: int) -> int:
        """Return the smallest member of the set of a member."""
        while (parent := self._parent[member]) != member:
            self._parent[member] = self._parent[parent]
            member = self._parent[member]
        return member

    def join(self, left: int, right: int) -> bool:
        """Join two sets; return False if they were already joined."""
        low, high = sorted((self.root(left), self.root(right)))
        self._parent[high] = low
        return low != high


@dataclass(frozen=True)
class NearDuplicates:
    """What a search for near duplicates did.

    Attributes:
        joined: For each join of two groups, the member that joined.
        separated: Pairs of members that are near duplicates and were not joined, because one is
            too far from the first text of the other's group.
    """

    joined: list[int]
    separated: list[tuple[int, int]]


def join_near_duplicates(
    texts: Sequence[str], members: Sequence[int], groups: DisjointSets, jaccard: float
) -> NearDuplicates:
    """Join the groups of texts that are near duplicates.

    Args:
        texts: distinct folded texts.
        members: member of `groups` of each text.
        groups: the groups so far; frequencies count groups, not texts.
        jaccard: smallest Jaccard similarity of near duplicates.
    """
    if not texts:
        return NearDuplicates([], [])
    joined: list[int] = []
    first_of: dict[bytes, int] = {}
    sets: list[NDArray[np.uint64]] = []
    kept: list[int] = []
    by_text = sorted(range(len(texts)), key=texts.__getitem__)
    for index in track(by_text, "shingles", "prompts"):
        shingles = _shingles(texts[index])
        first = first_of.setdefault(shingles.tobytes(), index)
        if first == index:
            kept.append(index)
            sets.append(shingles)
        elif groups.join(members[first], members[index]):
            joined.append(members[index])
    del first_of
    search = _Search([texts[index] for index in kept], sets, [members[i] for i in kept], groups)
    rest = search.join(jaccard)
    return NearDuplicates(joined + rest.joined, rest.separated)


class _Search:
    """Texts with distinct sets of shingles, visited from small to large.

    The search is exact and uses prefix filtering (Chaudhuri et al. 2006; Bayardo et al. 2007): if
    the shingles of every set are sorted from rare to frequent, two sets of similarity t share one
    of their first n - ceil(t n) + 1 shingles. The frequent ones, which are the last, are left out.
    """

    def __init__(
        self,
        texts: Sequence[str],
        sets: list[NDArray[np.uint64]],
        members: Sequence[int],
        groups: DisjointSets,
    ) -> None:
        roots = [groups.root(member) for member in members]
        ranked, self._frequency = _rank_by_rarity(sets, roots)
        sets.clear()
        n_groups = len(set(roots))
        limit = boilerplate_limit(n_groups)
        narrow, wide = (
            int(np.searchsorted(self._frequency, highest, side="right"))
            for highest in (limit, max(limit, SMALL_SET_LIMIT))
        )
        size_of = [int(np.searchsorted(ranks, wide)) for ranks in ranked]
        order = sorted(range(len(texts)), key=lambda index: (size_of[index], texts[index]))
        self._narrow, self._groups = narrow, groups
        self._texts = [texts[index] for index in order]
        self._members = [members[index] for index in order]
        self._sets = [ranked[index] for index in order]
        self._sizes = np.array([size_of[index] for index in order])
        self._first = list(range(len(order)))
        self._chains = {index: [index] for index in self._first}

    def join(self, jaccard: float) -> NearDuplicates:
        """Join the groups of near duplicates."""
        result = NearDuplicates([], [])
        min_size = np.ceil(jaccard * self._sizes - 1e-9).astype(np.int64)
        prefixes = self._prefixes(min_size)
        holders = _holders(prefixes)
        roots = np.array([self._groups.root(member) for member in self._members])
        compared_with = np.full(len(roots), -1)
        for current, prefix in enumerate(track(prefixes, "near duplicates", "prompts")):
            for rank in prefix.tolist():
                earlier = holders[rank][: np.searchsorted(holders[rank], current)]
                fresh = (roots[earlier] != roots[current]) & (compared_with[earlier] != current)
                candidates = earlier[fresh & (self._sizes[earlier] >= min_size[current])]
                while len(candidates):
                    other, candidates = int(candidates[0]), candidates[1:]
                    compared_with[other] = current
                    if not self._are_near(current, other, jaccard):
                        continue
                    pair = (self._members[current], self._members[other])
                    if not self._link(current, other, jaccard):
                        result.separated.append(pair)
                        continue
                    self._groups.join(*pair)
                    result.joined.append(self._members[current])
                    merged = self._groups.root(self._members[current])
                    roots[(roots == roots[current]) | (roots == roots[other])] = merged
                    candidates = candidates[roots[candidates] != merged]
        return result

    def _prefixes(self, min_size: NDArray[np.int64]) -> list[Ranks]:
        heads = (
            ranks[: size - smallest + 1 if size else 0]
            for ranks, size, smallest in zip(
                self._sets, self._sizes.tolist(), min_size.tolist(), strict=True
            )
        )
        return [head[self._frequency[head] > 1] for head in heads]

    def _are_near(self, left: int, right: int, jaccard: float) -> bool:
        """Return whether two texts are near duplicates, see the module."""
        first, second = self._sets[left], self._sets[right]
        wide = (first[: self._sizes[left]], second[: self._sizes[right]])
        if _jaccard(*wide) < jaccard or _jaccard(first, second) < jaccard:
            return False
        narrow = [ranks[: np.searchsorted(ranks, self._narrow)] for ranks in wide]
        if all(map(len, narrow)) and _jaccard(*narrow) >= jaccard:
            return True
        return self._are_copies(left, right)

    def _are_copies(self, left: int, right: int) -> bool:
        """Return whether one text is the other with words added, or single words were changed."""
        first, second = (Counter(_TOKEN.findall(self._texts[index])) for index in (left, right))
        changed_words = min((first - second).total(), (second - first).total())
        shared = np.intersect1d(self._sets[left], self._sets[right], assume_unique=True)
        changed_shingles = min(len(self._sets[left]), len(self._sets[right])) - len(shared)
        if changed_words > 1 and changed_shingles < (SHINGLE_TOKENS - 1) * changed_words:
            return False
        frequency = self._frequency[shared]
        return changed_words == 0 or bool(frequency.min() < np.quantile(frequency, 0.9))

    def _link(self, current: int, other: int, jaccard: float) -> bool:
        """Join two chains if all members are near enough to the first; return whether they are."""
        low, high = sorted((self._first[current], self._first[other]))
        reach = 2 * jaccard - 1
        first = self._sets[low]
        if any(_jaccard(first, self._sets[m]) < reach - 1e-9 for m in self._chains[high]):
            return False
        for member in self._chains[high]:
            self._first[member] = low
        self._chains[low] += self._chains.pop(high)
        return True


def _jaccard(left: Ranks, right: Ranks) -> float:
    common = len(np.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)


def _holders(prefixes: Sequence[Ranks]) -> dict[int, NDArray[np.int64]]:
    """Map each shingle to the prefixes that contain it, in ascending order."""
    ranks = np.concatenate(prefixes)
    if not len(ranks):
        return {}
    places = np.repeat(np.arange(len(prefixes)), [len(prefix) for prefix in prefixes])
    order = np.argsort(ranks, kind="stable")
    distinct, starts = np.unique(ranks[order], return_index=True)
    return dict(zip(distinct.tolist(), np.split(places[order], starts[1:]), strict=True))


def _shingles(text: str) -> NDArray[np.uint64]:
    """Hash the distinct 5-grams of tokens; a shorter text is one n-gram."""
    tokens = _TOKEN.findall(text) or [text]
    hashes = np.array([_token_hash(token) for token in tokens], dtype=np.uint64)
    width = min(SHINGLE_TOKENS, len(hashes))
    windows = np.lib.stride_tricks.sliding_window_view(hashes, width)
    return np.unique((windows * _PLACES[:width]).sum(axis=1, dtype=np.uint64))


@lru_cache(maxsize=1 << 18)
def _token_hash(token: str) -> int:
    return int.from_bytes(hashlib.blake2b(token.encode(), digest_size=8).digest(), "big")


def _rank_by_rarity(
    sets: Sequence[NDArray[np.uint64]], roots: Sequence[int]
) -> tuple[list[Ranks], NDArray[np.int64]]:
    """Replace shingles by ranks, rarest first; also return how many groups hold each rank."""
    distinct, place = np.unique(np.concatenate(sets), return_inverse=True)
    ends = np.cumsum([len(shingles) for shingles in sets])
    places = np.split(place, ends[:-1])
    of_root: dict[int, list[NDArray[np.int64]]] = defaultdict(list)
    for root, held in zip(roots, places, strict=True):
        of_root[root].append(held)
    held_once = [
        held[0] if len(held) == 1 else np.unique(np.concatenate(held)) for held in of_root.values()
    ]
    counts = np.bincount(np.concatenate(held_once), minlength=len(distinct))
    del held_once, of_root
    by_rarity = np.lexsort((distinct, counts))
    rank = np.empty(len(distinct), dtype=np.int32)
    rank[by_rarity] = np.arange(len(distinct), dtype=np.int32)
    return [np.sort(rank[held]) for held in places], counts[by_rarity]
