"""Splits by prompt group, so that near duplicates and turns of one dialogue share a split.

The id of a prompt is a hash of its normalised text, so a plain text and a dialogue with that text
as its only user turn are the same prompt. Near duplicates and prompts with the same opening form a
group. The split of a group depends only on a hash of the seed and the group, not on the order of
rows or on other groups.
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


def fold(text: str) -> str:
    """Normalise Unicode form, case and white space.

    >>> fold("  Wie  heißt du? ")
    'wie heisst du?'
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def normalise(prompt: str) -> str:
    """Fold the canonical text of a prompt; a plain text becomes a dialogue with one user turn.

    >>> normalise("  Wie  heißt du? ")
    'human: wie heisst du? assistant:'
    """
    return fold(canonical(prompt))


def prompt_id(prompt: str) -> str:
    r"""Return the id of a prompt: "p" and 16 hexadecimal digits of a hash of its normalised text.

    >>> prompt_id("Hello\nthere") == prompt_id("hello there")
    True
    >>> prompt_id("Hello there") == prompt_id("\n\nHuman: Hello there\n\nAssistant:")
    True
    """
    return stable_id("p", normalise(prompt))


def stable_id(prefix: str, *parts: str) -> str:
    """Return an id that depends only on the content: the prefix and a hash.

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
    """Groups of prompts that must share a split.

    Attributes:
        group_of: prompt_id -> group; the name of a group is its smallest prompt_id.
        families_joined: number of groups merged because their prompts share a family.
        near_duplicates_joined: number of groups merged because their prompts are near duplicates.
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
    """Shares of the held-out splits among the prompt groups; the rest is train."""

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
        """Split -> share, for all splits except train, in the order of the draw."""
        return {"test": self.test, "validation": self.validation, "autorater": self.autorater}


def group_prompts(
    prompts: Collection[str],
    families: Mapping[str, str] | None = None,
    jaccard: float = NEAR_DUPLICATE_JACCARD,
) -> PromptGroups:
    """Group prompts that would leak into each other's split.

    Args:
        prompts: texts of the prompts, in any order and with duplicates.
        families: text -> family, such as the opening of its dialogue; prompts of one family form
            one group.
        jaccard: smallest Jaccard similarity of token 5-grams between near duplicates.

    Returns:
        The groups; they do not depend on the order of the prompts.
    """
    text_of = {prompt_id(prompt): normalise(prompt) for prompt in prompts}
    ids = sorted(text_of)
    index_of = {name: index for index, name in enumerate(ids)}
    groups = _DisjointSets(len(ids))
    members: dict[str, list[int]] = defaultdict(list)
    for prompt in prompts:
        if families is not None and prompt in families:
            members[families[prompt]].append(index_of[prompt_id(prompt)])
    families_joined = sum(
        groups.join(first, other) for first, *others in members.values() for other in others
    )
    # Without the role markers, which would make up half of the shingles of a short prompt.
    contents = [text_of[name].removeprefix("human: ").removesuffix(" assistant:") for name in ids]
    near_duplicates_joined = _join_near_duplicates(contents, groups, jaccard)
    return PromptGroups(
        {name: ids[groups.root(index)] for index, name in enumerate(ids)},
        families_joined,
        near_duplicates_joined,
    )


def assign_splits(
    groups: Collection[str], fractions: SplitFractions, seed: int, where: str
) -> dict[str, str]:
    """Assign a split to each group by a hash of the seed and the group.

    Args:
        groups: names of the groups.
        fractions: expected shares of the groups.
        seed: seed of the splits.
        where: name of the data in error messages.

    Returns:
        Group -> split: train, validation, test or autorater.

    Raises:
        DataError: a split with a positive share has no group.
    """
    shares = fractions.held_out
    splits = {group: draw_split(group, fractions, seed) for group in groups}
    for split, share in {**shares, "train": 1.0}.items():
        if share > 0 and split not in splits.values():
            raise DataError(
                f"{where}: none of {len(groups)} prompt groups is in the {split} split; "
                f"needs at least 1: give more data or other fractions"
            )
    return splits


def draw_split(group: str, fractions: SplitFractions, seed: int) -> str:
    """Draw the split of a group by its hash."""
    return _split(_uniform(seed, "split", group), fractions.held_out)


def hash_order(names: Collection[str], seed: int, purpose: str) -> list[str]:
    """Sort names in a pseudo-random order that depends only on the seed and the names."""
    return sorted(names, key=lambda name: (_uniform(seed, purpose, name), name))


def first_half(groups: Collection[str], seed: int) -> frozenset[str]:
    """Choose the groups of D_U: the first half (rounded down) in hash order."""
    return frozenset(hash_order(groups, seed, "half")[: len(groups) // 2])


def check_no_leak(frames: Mapping[str, pl.DataFrame], where: str) -> None:
    """Check that no prompt is in two splits, within a frame or across frames.

    Args:
        frames: name -> frame with prompt_id, prompt and split. The split "unlabeled" counts as
            train. It can share prompts with validation demonstrations (frame "sft"), which only
            measure the policy's likelihood, because unlabeled prompts have no labels.
        where: name of the data in error messages.

    Raises:
        DataError: a prompt, by its id or by its normalised text, is in two splits.
    """
    seen: dict[str, dict[str, str]] = defaultdict(dict)
    for name, frame in frames.items():
        rows = frame.select("prompt_id", "prompt", "split")
        for name_of_prompt, prompt, split in rows.unique(maintain_order=True).iter_rows():
            role = _SFT_VALIDATION if (name, split) == ("sft", "validation") else split
            for key in (f"id {name_of_prompt}", f"text {normalise(prompt)}"):
                for earlier, table in seen[key].items():
                    if _may_share(earlier, role):
                        continue
                    raise DataError(
                        f"{where}: prompt {name_of_prompt} ({show(prompt)}) is in two splits: "
                        f"{_split_of(earlier)} of {table} and {_split_of(role)} of {name}; "
                        f"needs one: split by prompt group"
                    )
                seen[key].setdefault(role, name)


_SFT_VALIDATION = "validation of demonstrations"


def _split_of(role: str) -> str:
    return {"unlabeled": "train", _SFT_VALIDATION: "validation"}.get(role, role)


def _may_share(first: str, second: str) -> bool:
    """Return whether a prompt can have both roles."""
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
        """Join two sets; return False if they were already joined."""
        low, high = sorted((self.root(left), self.root(right)))
        self._parent[high] = low
        return low != high


def _join_near_duplicates(texts: Sequence[str], groups: _DisjointSets, jaccard: float) -> int:
    """Join texts whose shingles have at least the given Jaccard similarity; count the joins.

    The search is exact and uses prefix filtering (Chaudhuri et al. 2006; Bayardo et al. 2007): if
    the shingles of every set are sorted from rare to frequent, two sets of similarity t share one
    of their first n - ceil(t n) + 1 shingles. Sets are visited from small to large, so that the
    sizes bound the similarity.
    """
    if not texts:
        return 0
    ranked, is_shared = _rank_by_rarity([_shingles(text) for text in texts])
    visits = sorted(range(len(texts)), key=lambda index: (len(ranked[index]), texts[index]))
    sets = [ranked[index] for index in visits]
    sizes = np.array([len(ranks) for ranks in sets])
    min_size = np.ceil(jaccard * sizes - 1e-9).astype(np.int64)
    prefixes = [
        head[is_shared[head]]
        for head in (
            ranks[: len(ranks) - smallest + 1]
            for ranks, smallest in zip(sets, min_size, strict=True)
        )
    ]
    holders = _holders(prefixes)
    roots = np.array([groups.root(index) for index in visits])
    compared_with = np.full(len(sets), -1)
    joins = 0
    for current, prefix in enumerate(prefixes):
        for rank in prefix.tolist():
            earlier = holders[rank][: np.searchsorted(holders[rank], current)]
            fresh = (roots[earlier] != roots[current]) & (compared_with[earlier] != current)
            candidates = earlier[fresh & (sizes[earlier] >= min_size[current])]
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
    sets: Sequence[NDArray[np.uint64]],
) -> tuple[list[NDArray[np.int64]], NDArray[np.bool_]]:
    """Replace shingles by ranks, rarest first; also return which ranks occur in several sets."""
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
    """Return a pseudo-random number in [0, 1) that depends only on the arguments."""
    digest = hashlib.blake2b(f"{seed}\x1f{purpose}\x1f{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def _split(uniform: float, shares: Mapping[str, float]) -> str:
    end = 0.0
    for split, share in shares.items():
        end += share
        if uniform < end:
            return split
    return "train"
