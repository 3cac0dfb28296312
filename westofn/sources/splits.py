"""Splits by prompt group: no prompt, near copy of it or turn of its dialogue lies in two splits.

A prompt is named by its normalised text, so that a question is one prompt as bare text and as a
dialogue of one user turn; prompts that are nearly equal, or that open the same dialogue, form one
group; and a group's split is a hash of the seed and the group. So neither the order of the rows nor
the rows of other groups have a say in where a row goes.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from westofn.artifacts.table import show
from westofn.core.dialogue import canonical
from westofn.errors import DataError, ParameterError

NEAR_DUPLICATE_JACCARD = 0.8
SHINGLE_TOKENS = 5

_TOKEN = re.compile(r"\w+")
# Odd 64-bit constants, one for each place in a shingle, so that the order of its tokens counts.
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


def fold(text: str) -> str:
    """Fold what does not make another text: Unicode form, case and white space.

    >>> fold("  Wie  heißt du? ")
    'wie heisst du?'
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def normalise(prompt: str) -> str:
    """Fold a prompt's canonical spelling, in which a bare text is a dialogue of one user turn.

    >>> normalise("  Wie  heißt du? ")
    'human: wie heisst du? assistant:'
    """
    return fold(canonical(prompt))


def prompt_id(prompt: str) -> str:
    r"""Name a prompt by its normalised text: "p" and 16 hexadecimal digits.

    >>> prompt_id("Hello\nthere") == prompt_id("hello there")
    True
    >>> prompt_id("Hello there") == prompt_id("\n\nHuman: Hello there\n\nAssistant:")
    True
    """
    return stable_id("p", normalise(prompt))


def stable_id(prefix: str, *parts: str) -> str:
    """Name content by a hash of it, so that the name depends on nothing else.

    >>> stable_id("h", "a", "bc") == stable_id("h", "ab", "c")
    False
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return prefix + digest.hexdigest()


@dataclass(frozen=True)
class PromptGroups:
    """Which prompts must stay together.

    Attributes:
        group_of: group of each prompt_id; a group is named by its smallest prompt_id.
        families_joined: how many groups vanished because their prompts share a family.
        near_duplicates_joined: how many more vanished because their prompts are near duplicates.
    """

    group_of: Mapping[str, str]
    families_joined: int
    near_duplicates_joined: int

    @property
    def names(self) -> frozenset[str]:
        """Names of the groups."""
        return frozenset(self.group_of.values())


@dataclass(frozen=True)
class SplitFractions:
    """Shares of the prompt groups that are held out; the rest is train."""

    validation: float
    test: float
    autorater: float

    def __post_init__(self) -> None:
        shares = (self.validation, self.test, self.autorater)
        if min(shares) < 0 or not sum(shares) < 1:
            raise ParameterError(
                f"validation, test and autorater fractions are {shares}; "
                f"needs fractions ≥ 0 whose sum is below 1, so that some groups train"
            )

    @property
    def held_out(self) -> dict[str, float]:
        """Share of each split but train, in the order in which they are drawn."""
        return {"test": self.test, "validation": self.validation, "autorater": self.autorater}


def group_prompts(
    prompts: Collection[str],
    families: Mapping[str, str] | None = None,
    jaccard: float = NEAR_DUPLICATE_JACCARD,
) -> PromptGroups:
    """Join prompts that would leak into each other's split.

    Args:
        prompts: texts of the prompts, in any order and with any copies.
        families: a family of each text that has one, such as the opening of its dialogue; prompts
            of one family form one group.
        jaccard: token 5-gram Jaccard similarity from which two prompts are near duplicates.

    Returns:
        The groups, which do not depend on the order of the prompts.
    """
    text_of = {prompt_id(prompt): normalise(prompt) for prompt in prompts}
    ids = sorted(text_of)
    place = {name: index for index, name in enumerate(ids)}
    groups = _DisjointSets(len(ids))
    members: dict[str, list[int]] = defaultdict(list)
    for prompt in prompts:
        if families is not None and prompt in families:
            members[families[prompt]].append(place[prompt_id(prompt)])
    families_joined = sum(
        groups.join(first, other) for first, *others in members.values() for other in others
    )
    # Without the markers around it: of a short prompt they would be half of the shingles.
    bare = [text_of[name].removeprefix("human: ").removesuffix(" assistant:") for name in ids]
    near = _join_near_duplicates(bare, groups, jaccard)
    return PromptGroups(
        {name: ids[groups.root(index)] for index, name in enumerate(ids)}, families_joined, near
    )


def assign_splits(
    groups: Collection[str], fractions: SplitFractions, seed: int, where: str
) -> dict[str, str]:
    """Give each group its split by a hash of (seed, group) alone.

    Args:
        groups: names of the groups.
        fractions: expected shares of the groups.
        seed: another seed gives other splits.
        where: what a message calls the data.

    Returns:
        Split of each group: train, validation, test or autorater.

    Raises:
        DataError: a split of a positive share got no group.
    """
    shares = fractions.held_out
    splits = {group: draw_split(group, fractions, seed) for group in groups}
    for split, share in {**shares, "train": 1.0}.items():
        if share > 0 and split not in splits.values():
            raise DataError(
                f"{where}: none of {len(groups)} prompt groups fell to the {split} split; "
                f"needs at least 1: give more data or other fractions"
            )
    return splits


def draw_split(group: str, fractions: SplitFractions, seed: int) -> str:
    """Draw the split of a group by its hash."""
    return _split(_uniform(seed, "split", group), fractions.held_out)


def hash_order(names: Collection[str], seed: int, purpose: str) -> list[str]:
    """Put names in an order that is random, but a function of the seed and each name alone."""
    return sorted(names, key=lambda name: (_uniform(seed, purpose, name), name))


def first_half(groups: Collection[str], seed: int) -> frozenset[str]:
    """Choose half of the groups (rounded down), the first in hash order: those of D_U."""
    return frozenset(hash_order(groups, seed, "half")[: len(groups) // 2])


def check_no_leak(frames: Mapping[str, pl.DataFrame], where: str) -> None:
    """Check that no prompt is in two splits, within a frame or across frames.

    Args:
        frames: frames with prompt_id, prompt and split, by name. The split "unlabeled" counts as
            train, except beside validation rows of demonstrations (frame "sft"): these measure the
            policy's likelihood, and an unlabeled prompt has no label to learn from.
        where: what a message calls the data.

    Raises:
        DataError: a prompt, by its id or by its normalised text, is in two splits.
    """
    seen: dict[str, dict[str, str]] = defaultdict(dict)
    for name, frame in frames.items():
        rows = frame.select("prompt_id", "prompt", "split")
        for identity, prompt, split in rows.unique(maintain_order=True).iter_rows():
            role = _SFT_VALIDATION if (name, split) == ("sft", "validation") else split
            for mark in (f"id {identity}", f"text {normalise(prompt)}"):
                for earlier, table in seen[mark].items():
                    if _may_share(earlier, role):
                        continue
                    raise DataError(
                        f"{where}: prompt {identity} ({show(prompt)}) is in two splits: "
                        f"{_split_of(earlier)} of {table} and {_split_of(role)} of {name}; "
                        f"needs one: split by prompt group"
                    )
                seen[mark].setdefault(role, name)


_SFT_VALIDATION = "validation of demonstrations"


def _split_of(role: str) -> str:
    return {"unlabeled": "train", _SFT_VALIDATION: "validation"}.get(role, role)


def _may_share(first: str, second: str) -> bool:
    """Whether a prompt may have both roles."""
    return _split_of(first) == _split_of(second) or {first, second} == {
        "unlabeled",
        _SFT_VALIDATION,
    }


class _DisjointSets:
    """Union-find; the smallest member is the root of its set."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, member: int) -> int:
        while (parent := self._parent[member]) != member:
            self._parent[member] = self._parent[parent]
            member = self._parent[member]
        return member

    def join(self, left: int, right: int) -> bool:
        """Join two sets; false if they were one already."""
        low, high = sorted((self.root(left), self.root(right)))
        self._parent[high] = low
        return low != high


def _join_near_duplicates(texts: Sequence[str], groups: _DisjointSets, jaccard: float) -> int:
    """Join all texts whose shingles have at least this Jaccard similarity; count the joins.

    Exact, by prefix filtering (Chaudhuri et al. 2006; Bayardo et al. 2007): with the shingles of
    each set in one common order, rarest first, two sets of similarity t share one of their first
    n - ceil(t n) + 1 shingles. Sets are visited from small to large, so that the sizes of a pair
    bound its similarity too.
    """
    if not texts:
        return 0
    ranked, is_shared = _rank_by_rarity([_shingles(text) for text in texts])
    visits = sorted(range(len(texts)), key=lambda index: (len(ranked[index]), texts[index]))
    sets = [ranked[index] for index in visits]
    sizes = np.array([len(ranks) for ranks in sets])
    least = np.ceil(jaccard * sizes - 1e-9).astype(np.int64)
    prefixes = [
        head[is_shared[head]]
        for head in (ranks[: len(ranks) - low + 1] for ranks, low in zip(sets, least, strict=True))
    ]
    holders = _holders(prefixes)
    roots = np.array([groups.root(index) for index in visits])
    compared_with = np.full(len(sets), -1)
    joins = 0
    for current, prefix in enumerate(prefixes):
        for rank in prefix.tolist():
            earlier = holders[rank][: np.searchsorted(holders[rank], current)]
            fresh = (roots[earlier] != roots[current]) & (compared_with[earlier] != current)
            candidates = earlier[fresh & (sizes[earlier] >= least[current])]
            while len(candidates):
                other, candidates = candidates[0], candidates[1:]
                compared_with[other] = current
                if _jaccard(sets[current], sets[other]) >= jaccard:
                    joins += groups.join(visits[current], visits[other])
                    merged = groups.root(visits[current])
                    roots[(roots == roots[current]) | (roots == roots[other])] = merged
                    candidates = candidates[roots[candidates] != merged]
    return joins


def _jaccard(left: NDArray[np.int64], right: NDArray[np.int64]) -> float:
    common = len(np.intersect1d(left, right, assume_unique=True))
    return common / (len(left) + len(right) - common)


def _holders(prefixes: Sequence[NDArray[np.int64]]) -> dict[int, NDArray[np.int64]]:
    """Say, for each shingle, which prefixes hold it, in ascending order."""
    ranks = np.concatenate(prefixes)
    if not len(ranks):
        return {}
    places = np.repeat(np.arange(len(prefixes)), [len(prefix) for prefix in prefixes])
    order = np.argsort(ranks, kind="stable")
    distinct, starts = np.unique(ranks[order], return_index=True)
    return dict(zip(distinct.tolist(), np.split(places[order], starts[1:]), strict=True))


def _shingles(text: str) -> NDArray[np.uint64]:
    """Hash the distinct runs of 5 tokens; a shorter text is one run."""
    tokens = _TOKEN.findall(text) or [text]
    hashes = np.array([_token_hash(token) for token in tokens], dtype=np.uint64)
    width = min(SHINGLE_TOKENS, len(hashes))
    windows = np.lib.stride_tricks.sliding_window_view(hashes, width)
    return np.unique((windows * _PLACES[:width]).sum(axis=1, dtype=np.uint64))


@lru_cache(maxsize=1 << 18)
def _token_hash(token: str) -> int:
    return int.from_bytes(hashlib.blake2b(token.encode(), digest_size=8).digest(), "big")


def _rank_by_rarity(
    sets: Sequence[NDArray[np.uint64]],
) -> tuple[list[NDArray[np.int64]], NDArray[np.bool_]]:
    """Replace shingles by their ranks, rarest first; also say which ranks two sets hold."""
    distinct, place, counts = np.unique(
        np.concatenate(sets), return_inverse=True, return_counts=True
    )
    by_rarity = np.lexsort((distinct, counts))
    rank = np.empty(len(distinct), dtype=np.int64)
    rank[by_rarity] = np.arange(len(distinct))
    ends = np.cumsum([len(shingles) for shingles in sets])
    ranked = [np.sort(ranks) for ranks in np.split(rank[place], ends[:-1])]
    return ranked, counts[by_rarity] > 1


def _uniform(seed: int, purpose: str, name: str) -> float:
    """Draw a number in [0, 1) that depends on the arguments alone."""
    digest = hashlib.blake2b(f"{seed}\x1f{purpose}\x1f{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def _split(uniform: float, shares: Mapping[str, float]) -> str:
    end = 0.0
    for split, share in shares.items():
        end += share
        if uniform < end:
            return split
    return "train"
