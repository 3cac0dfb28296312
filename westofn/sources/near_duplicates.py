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
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from westofn.progress import track
from westofn.sources.minhash import bucket_keys
from westofn.sources.shingles import SHINGLE_TOKENS, TOKEN, Ragged, rank_by_rarity, shingles_of

FEW = 4
"""Groups that may share a shingle however small the set is."""
SMALL_SET_LIMIT = 10
"""Groups that may share a shingle of texts that look like copies."""
EXACT_TEXTS = 200_000
"""Texts up to which the search is exact; among more, pairs to compare come from MinHash."""

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
    texts: Sequence[str],
    members: Sequence[int],
    groups: DisjointSets,
    jaccard: float,
    exact_texts: int = EXACT_TEXTS,
) -> NearDuplicates:
    """Join the groups of texts that are near duplicates.

    Args:
        texts: distinct folded texts.
        members: member of `groups` of each text.
        groups: the groups so far; frequencies count groups, not texts.
        jaccard: smallest Jaccard similarity of near duplicates.
        exact_texts: number of texts with distinct sets of shingles up to which every pair of near
            duplicates is found; among more, MinHash misses few of them, see `minhash.MISSED`.

    Raises:
        ParameterError: there are more texts, and the package that they need is not installed.
    """
    if not texts:
        return NearDuplicates([], [])
    order = sorted(range(len(texts)), key=texts.__getitem__)
    sets = shingles_of([texts[index] for index in order])
    joined: list[int] = []
    first_of: dict[bytes, int] = {}
    kept: list[int] = []
    for place, index in enumerate(order):
        name = hashlib.blake2b(sets[place].tobytes(), digest_size=16).digest()
        first = first_of.setdefault(name, index)
        if first == index:
            kept.append(place)
        elif groups.join(members[first], members[index]):
            joined.append(members[index])
    del first_of
    kept_members = [members[order[place]] for place in kept]
    roots = np.array([groups.root(member) for member in kept_members])
    ranked, frequency = rank_by_rarity(sets.take(np.array(kept)), roots)
    del sets
    kept_texts = [texts[order[place]] for place in kept]
    search = _Search(kept_texts, ranked, frequency, kept_members, groups)
    rest = search.join(jaccard, is_exact=len(kept) <= exact_texts)
    return NearDuplicates(joined + rest.joined, rest.separated)


class _Search:
    """Texts with distinct sets of shingles, visited from small to large.

    Pairs to compare share a key. The exact search uses prefix filtering (Chaudhuri et al. 2006;
    Bayardo et al. 2007): if the shingles of every set are sorted from rare to frequent, two sets of
    similarity t share one of their first n - ceil(t n) + 1 shingles. The frequent ones, which are
    the last, are left out. Among many texts the keys are buckets of MinHash instead.
    """

    def __init__(
        self,
        texts: Sequence[str],
        sets: Ragged,
        frequency: NDArray[np.int32],
        members: Sequence[int],
        groups: DisjointSets,
    ) -> None:
        n_groups = len({groups.root(member) for member in members})
        limit = boilerplate_limit(n_groups)
        self._narrow, wide = (
            int(np.searchsorted(frequency, highest, side="right"))
            for highest in (limit, max(limit, SMALL_SET_LIMIT))
        )
        self._wide = sets.where(sets.values < wide)
        size_of = self._wide.sizes.tolist()
        self._order = sorted(range(len(texts)), key=lambda index: (size_of[index], texts[index]))
        self._all, self._frequency, self._groups = sets, frequency, groups
        self._texts = [texts[index] for index in self._order]
        self._members = [members[index] for index in self._order]
        self._sizes = self._wide.sizes[self._order]
        self._first = list(range(len(texts)))
        self._chains: dict[int, list[int]] = {}

    def join(self, jaccard: float, *, is_exact: bool) -> NearDuplicates:
        """Join the groups of near duplicates."""
        result = NearDuplicates([], [])
        min_size = np.ceil(jaccard * self._sizes - 1e-9).astype(np.int64)
        keys = self._prefixes(min_size) if is_exact else bucket_keys(self._wide, jaccard)
        holders = self._holders(keys)
        labels = _Labels([self._groups.root(member) for member in self._members])
        roots, compared_with = labels.values, np.full(len(keys), -1)
        for current, row in enumerate(track(self._order, "near duplicates", "prompts")):
            for key in keys[row].tolist():
                earlier = holders[key][: np.searchsorted(holders[key], current)]
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
                    labels.join(current, other)
                    candidates = candidates[roots[candidates] != roots[current]]
        return result

    def _prefixes(self, min_size: NDArray[np.int64]) -> Ragged:
        """The first shingles of each set that other groups hold too, see the class."""
        wide = self._wide
        reach = np.empty(len(wide), np.int64)
        reach[self._order] = np.where(self._sizes > 0, self._sizes - min_size + 1, 0)
        place = np.arange(len(wide.values)) - np.repeat(wide.starts[:-1], wide.sizes)
        in_reach = place < np.repeat(reach, wide.sizes)
        return wide.where(in_reach & (self._frequency[wide.values] > 1))

    def _holders(self, keys: Ragged) -> dict[int, NDArray[np.int64]]:
        """Map each key to the texts that have it, in the order of visits."""
        visit = np.empty(len(keys), np.int64)
        visit[self._order] = np.arange(len(keys))
        texts = np.repeat(visit, keys.sizes)
        if not len(texts):
            return {}
        order = np.lexsort((texts, keys.values))
        distinct, starts = np.unique(keys.values[order], return_index=True)
        return dict(zip(distinct.tolist(), np.split(texts[order], starts[1:]), strict=True))

    def _set(self, text: int) -> Ranks:
        return self._all[self._order[text]]

    def _are_near(self, left: int, right: int, jaccard: float) -> bool:
        """Return whether two texts are near duplicates, see the module."""
        first, second = self._set(left), self._set(right)
        wide = (first[: self._sizes[left]], second[: self._sizes[right]])
        if _jaccard(*wide) < jaccard or _jaccard(first, second) < jaccard:
            return False
        narrow = [ranks[: np.searchsorted(ranks, self._narrow)] for ranks in wide]
        if all(map(len, narrow)) and _jaccard(*narrow) >= jaccard:
            return True
        return self._are_copies(left, right)

    def _are_copies(self, left: int, right: int) -> bool:
        """Return whether one text is the other with words added, or single words were changed."""
        first, second = (Counter(TOKEN.findall(self._texts[index])) for index in (left, right))
        changed_words = min((first - second).total(), (second - first).total())
        sets = self._set(left), self._set(right)
        shared = np.intersect1d(*sets, assume_unique=True)
        changed_shingles = min(map(len, sets)) - len(shared)
        if changed_words > 1 and changed_shingles < (SHINGLE_TOKENS - 1) * changed_words:
            return False
        frequency = self._frequency[shared]
        return changed_words == 0 or bool(frequency.min() < np.quantile(frequency, 0.9))

    def _link(self, current: int, other: int, jaccard: float) -> bool:
        """Join two chains if all members are near enough to the first; return whether they are."""
        low, high = sorted((self._first[current], self._first[other]))
        reach = 2 * jaccard - 1
        first = self._set(low)
        moved = self._chains.get(high, [high])
        if any(_jaccard(first, self._set(member)) < reach - 1e-9 for member in moved):
            return False
        for member in moved:
            self._first[member] = low
        self._chains.setdefault(low, [low]).extend(moved)
        self._chains.pop(high, None)
        return True


class _Labels:
    """Labels of texts, equal within a group; a join changes those of the smaller group."""

    def __init__(self, labels: Sequence[int]) -> None:
        self.values = np.array(labels)
        members: dict[int, list[int]] = defaultdict(list)
        shared = np.bincount(self.values)[self.values] > 1
        for text in np.flatnonzero(shared).tolist():
            members[labels[text]].append(text)
        self._members = dict(members)  # of the groups with several texts

    def join(self, left: int, right: int) -> None:
        """Give the groups of two texts one label."""
        labels = (int(self.values[left]), int(self.values[right]))
        held = [self._members.get(labels[0], [left]), self._members.get(labels[1], [right])]
        large, small = (0, 1) if len(held[0]) >= len(held[1]) else (1, 0)
        self.values[held[small]] = labels[large]
        self._members.pop(labels[small], None)
        self._members.setdefault(labels[large], held[large]).extend(held[small])


def _jaccard(left: Ranks, right: Ranks) -> float:
    common = len(np.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)
