"""Splits by prompt group, so that near duplicates and turns of one dialogue share a split.

The id of a prompt is a hash of its canonical text, so a plain text and a dialogue with that text as
its only user turn are the same prompt. A group holds the prompts that would leak into each other's
split: prompts that differ only in case, white space or Unicode form, or only in the system message;
turns of one dialogue; and near duplicates (`near_duplicates.py`). The split of a group depends on a
hash of the seed and the group, not on the order of rows or on other groups, unless a split would
stay empty.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from westofn.artifacts.table import show
from westofn.core.dialogue import ASSISTANT, MARKERS, canonical, to_messages, to_text
from westofn.errors import DataError, ParameterError
from westofn.sources.near_duplicates import FEW, DisjointSets, NearDuplicates, join_near_duplicates

NEAR_DUPLICATE_JACCARD = 0.8
SYSTEMS = 10
"""Least limit of the system messages beside equal other turns, see `_turns_without_system`."""


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
    r"""Return the id of a prompt: "p" and 16 hexadecimal digits of a hash of its canonical text.

    >>> prompt_id("Hello there ") == prompt_id("\n\nHuman: Hello there\n\nAssistant:")
    True
    >>> prompt_id("What is 5²?") == prompt_id("What is 52?")
    False
    """
    return stable_id("p", canonical(prompt))


def folded_id(prompt: str) -> str:
    """Return the id that prompts of equal folded text share; it names groups and orders draws.

    >>> folded_id("What is 5²?") == folded_id("what is  52?")
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


class PromptNames:
    """Names of known prompts by text, or by folded text if no other prompt folds to it."""

    def __init__(self, prompts: Iterable[tuple[str, str]]) -> None:
        """Index pairs of name and text; of equal texts the first counts."""
        self._names: set[str] = set()
        self._exact: dict[str, str] = {}
        self._folded: dict[str, str | None] = {}
        for name, prompt in prompts:
            self._names.add(name)
            self._exact.setdefault(canonical(prompt), name)
            if self._folded.setdefault(normalise(prompt), name) != name:
                self._folded[normalise(prompt)] = None

    def __contains__(self, name: str) -> bool:
        """Return whether a name is of a known prompt."""
        return name in self._names

    def find(self, prompt: str) -> str | None:
        """Return the name of a prompt; None if it is unknown or could be one of several."""
        exact = self._exact.get(canonical(prompt))
        return self._folded.get(normalise(prompt)) if exact is None else exact


@dataclass(frozen=True)
class PromptGroups:
    """Groups of prompts that must share a split.

    Attributes:
        group_of: prompt_id -> group; the name of a group is the smallest folded_id of its prompts.
        folded: prompt_id -> folded_id.
        spellings: one prompt_id for each merge of two groups whose prompts differ only in case,
            white space or Unicode form.
        openings: the same for prompts of one dialogue, or that differ only in the system message.
        near_duplicates: the same for near duplicates.
        separated: pairs of prompt_ids that are near duplicates in two groups, because chains of
            near duplicates are cut.
    """

    group_of: Mapping[str, str]
    folded: Mapping[str, str]
    spellings: Sequence[str]
    openings: Sequence[str]
    near_duplicates: Sequence[str]
    separated: Sequence[tuple[str, str]] = ()

    @property
    def names(self) -> frozenset[str]:
        """Names of the groups."""
        return frozenset(self.group_of.values())

    @property
    def openings_joined(self) -> int:
        """Number of merges of groups because of dialogues or system messages."""
        return len(self.openings)

    @property
    def near_duplicates_joined(self) -> int:
        """Number of merges of groups because of near duplicates."""
        return len(self.near_duplicates)


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
    prompts: Collection[str], jaccard: float | None = NEAR_DUPLICATE_JACCARD
) -> PromptGroups:
    """Group prompts that would leak into each other's split.

    Args:
        prompts: texts of the prompts, in any order and with duplicates.
        jaccard: smallest Jaccard similarity of near duplicates; None: only prompts of equal folded
            text and of one dialogue form a group.

    Returns:
        The groups; they do not depend on the order of the prompts.
    """
    text_of = {prompt_id(prompt): canonical(prompt) for prompt in prompts}
    ids = sorted(text_of)
    folded = {name: folded_id(text_of[name]) for name in ids}
    groups = DisjointSets(len(ids))
    turns = _turns_without_system([text_of[name] for name in ids])
    del text_of
    spellings = _join_all(_places_by_key([folded[name] for name in ids]), groups)
    openings = _join_all(_dialogue_families(turns), groups)
    near = NearDuplicates([], [])
    if jaccard is not None:
        contents: dict[str, int] = {}
        for member, pieces in enumerate(turns):
            contents.setdefault(" assistant: ".join(pieces).removeprefix("human: "), member)
        near = join_near_duplicates(list(contents), list(contents.values()), groups, jaccard)
    smallest: dict[int, str] = {}
    for member, name in enumerate(ids):
        root = groups.root(member)
        smallest[root] = min(folded[name], smallest.get(root, folded[name]))
    return PromptGroups(
        group_of={name: smallest[groups.root(member)] for member, name in enumerate(ids)},
        folded=folded,
        spellings=[ids[member] for member in spellings],
        openings=[ids[member] for member in openings],
        near_duplicates=[ids[member] for member in near.joined],
        separated=[(ids[left], ids[right]) for left, right in near.separated],
    )


@dataclass(frozen=True)
class LargeGroup:
    """One of the largest groups.

    Attributes:
        name: name of the group.
        prompts: number of prompts.
        by_spelling: number of joins because of equal folded texts.
        by_opening: number of joins because of dialogues or system messages.
        by_near_duplicates: number of joins because of near duplicates.
        shared: words that all of its prompts begin with, or its first prompt if there are none.
    """

    name: str
    prompts: int
    by_spelling: int
    by_opening: int
    by_near_duplicates: int
    shared: str

    def __str__(self) -> str:
        """Return one line: how many prompts, what joined them, and how they begin."""
        reasons = {
            "near duplicates": self.by_near_duplicates,
            "turns of one dialogue or with another system message": self.by_opening,
            "other spellings": self.by_spelling,
        }
        joined = ", ".join(f"{count:,} as {reason}" for reason, count in reasons.items() if count)
        return f"{self.prompts:,} prompts (joined: {joined}), beginning with {show(self.shared)}"


def largest_groups(groups: PromptGroups, prompts: Collection[str], n: int) -> list[LargeGroup]:
    """Describe the largest groups of at least two prompts.

    Args:
        groups: groups of the prompts.
        prompts: texts of the prompts.
        n: largest number of groups.

    Returns:
        The groups from large to small.
    """
    sizes = Counter(groups.group_of.values())
    ordered = sorted(sizes, key=lambda name: (-sizes[name], name))[:n]
    members: dict[str, set[str]] = {name: set() for name in ordered if sizes[name] > 1}
    for prompt in prompts:
        group = groups.group_of[prompt_id(prompt)]
        if group in members:
            members[group].add(canonical(prompt).removeprefix(MARKERS["user"]).strip())
    spellings, openings, near = (
        Counter(groups.group_of[name] for name in joined)
        for joined in (groups.spellings, groups.openings, groups.near_duplicates)
    )
    return [
        LargeGroup(
            name=name,
            prompts=sizes[name],
            by_spelling=spellings[name],
            by_opening=openings[name],
            by_near_duplicates=near[name],
            shared=_shared_words(texts) or min(texts),
        )
        for name, texts in members.items()
    ]


def _shared_words(texts: Collection[str]) -> str:
    """Return the words that all texts begin with."""
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    end = next((place for place, (left, right) in pairs if left != right), len(first))
    return re.sub(r"\S*$", "", first[:end]).strip()


def assign_splits(
    groups: Collection[str], fractions: SplitFractions, seed: int, where: str, note: str = ""
) -> dict[str, str]:
    """Assign a split to each group by a hash of the seed and the group.

    A split with a positive share that no group has drawn takes the group of the largest split that
    is first in hash order, so a set of few groups has all splits. Train then has two groups if
    there are enough, one for D_L and one for D_U.

    Args:
        groups: names of the groups.
        fractions: expected shares of the groups.
        seed: seed of the splits.
        where: name of the data in error messages.
        note: further text about the groups in error messages.

    Returns:
        Group -> split: train, validation, test or autorater.

    Raises:
        DataError: there are fewer groups than splits with a positive share.
    """
    wanted = ["train", *(split for split, share in fractions.held_out.items() if share > 0)]
    splits = {group: draw_split(group, fractions, seed) for group in groups}
    if len(splits) < len(wanted):
        missing = next(split for split in wanted[::-1] if split not in splits.values())
        raise DataError(
            f"{where}: none of {len(groups)} prompt groups is in the {missing} split; needs at "
            f"least {len(wanted)} groups for {', '.join(wanted)}{note}: give more data"
        )
    least = Counter(wanted)
    least["train"] += len(splits) > len(wanted)
    order = hash_order(splits, seed, "empty split")
    for split in wanted:
        while (sizes := Counter(splits.values()))[split] < least[split]:
            surplus = {name: size - least[name] for name, size in sizes.items()}
            giver = max(surplus, key=lambda name: (surplus[name], name))
            splits[next(group for group in order if splits[group] == giver)] = split
    return splits


def draw_split(group: str, fractions: SplitFractions, seed: int) -> str:
    """Draw the split of a group by its hash."""
    return _split_at(_uniform(seed, "split", group), fractions.held_out)


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
            train. Validation demonstrations (frame "sft"), which only measure the policy's
            likelihood, can share prompts with D_U and with train pairs, and with train
            demonstrations if all demonstrations have one prompt.
        where: name of the data in error messages.

    Raises:
        DataError: a prompt, by its id or by its folded text, is in two splits.
    """
    seen: dict[str, dict[str, str]] = defaultdict(dict)
    shareable = {_UNLABELED, "train of preferences"}
    if "sft" in frames and len(set(map(normalise, frames["sft"]["prompt"].unique()))) == 1:
        shareable.add("train of sft")
    for name_of_prompt, prompt, role in _in_two_splits(frames).iter_rows():
        for key in (f"id {name_of_prompt}", f"text {normalise(prompt)}"):
            for earlier, earlier_split in seen[key].items():
                may_share = _SFT_VALIDATION in (role, earlier) and shareable & {role, earlier}
                if may_share or earlier_split == _split_of(role):
                    continue
                raise DataError(
                    f"{where}: prompt {name_of_prompt} ({show(prompt)}) is in two splits: "
                    f"{_shown(earlier)} and {_shown(role)}; needs one: split by prompt group"
                )
            seen[key].setdefault(role, _split_of(role))


def _in_two_splits(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows prompt_id, prompt, role whose id or folded text occurs in two splits; often none."""
    role = [(pl.col("split") + f" of {name}").alias("role") for name in frames]
    rows = pl.concat(
        frame.select("prompt_id", "prompt", "split", named).unique(maintain_order=True)
        for frame, named in zip(frames.values(), role, strict=True)
    )
    prompts = rows.select(pl.col("prompt").unique(maintain_order=True))
    names = pl.Series([int(folded_id(text)[1:], 16) for text in prompts["prompt"]], dtype=pl.UInt64)
    marked = rows.join(
        prompts.with_columns(text=names), on="prompt", how="left", maintain_order="left"
    ).with_columns(pl.col("split").replace("unlabeled", "train").rank("dense"))
    differs = [
        pl.col("split").min().over(key) != pl.col("split").max().over(key)
        for key in ("prompt_id", "text")
    ]
    return marked.filter(differs[0] | differs[1]).select("prompt_id", "prompt", "role")


_SFT_VALIDATION = "validation of sft"
_UNLABELED = "unlabeled of prompts"


def _split_of(role: str) -> str:
    split = role.partition(" ")[0]
    return "train" if split == "unlabeled" else split


def _shown(role: str) -> str:
    return "train of prompts" if role == _UNLABELED else role


def _join_all(families: Iterable[Sequence[int]], groups: DisjointSets) -> list[int]:
    """Join the members of each family; return one member for each join of two groups."""
    return [other for first, *others in families for other in others if groups.join(first, other)]


def _places_by_key(keys: Sequence[str]) -> Collection[list[int]]:
    """List the places of equal keys."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    return places.values()


def _turns_without_system(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Fold each canonical text without its system messages, cut before each assistant turn.

    System messages are kept if they hold the question: if the same turns follow more than
    max(`SYSTEMS`, `_dialogue_limit`) system messages, and no other turns follow each of these.
    """
    systems = [_system_and_rest(text) for text in texts]
    turns_of: dict[str, set[str]] = defaultdict(set)
    for system, rest in systems:
        turns_of[system].add(rest)
    alone = Counter(rest for system, rest in set(systems) if system and len(turns_of[system]) == 1)
    limit = max(SYSTEMS, _dialogue_limit(len(texts)))
    views = (
        text if alone[rest] > limit else rest
        for text, (_, rest) in zip(texts, systems, strict=True)
    )
    return [
        # A dialogue that the assistant opens has nothing before its first turn.
        tuple(map(fold, view.removesuffix(ASSISTANT).removeprefix(ASSISTANT).split(ASSISTANT)))
        for view in views
    ]


def _system_and_rest(text: str) -> tuple[str, str]:
    if MARKERS["system"] not in text:
        return "", text
    messages = to_messages(text)
    rest = [message for message in messages if message.role != "system"]
    if not any(message.content.strip() for message in rest):
        return "", text
    return to_text([message for message in messages if message.role == "system"]), to_text(rest)


def _dialogue_families(turns: Sequence[tuple[str, ...]]) -> Iterator[list[int]]:
    """Yield lists of prompts that are turns of one dialogue, or equal.

    Prompts with the same opening are one family. If more than `_dialogue_limit` different dialogues
    continue the opening, it is a greeting, a template or a preamble; then the next turn decides.
    """
    limit = _dialogue_limit(len(set(turns)))
    pending = [(0, list(members)) for members in _places_by_key([pieces[0] for pieces in turns])]
    while pending:
        depth, members = pending.pop()
        if len(members) == 1 or _count_dialogues({turns[member] for member in members}) <= limit:
            yield members
            continue
        ended = [member for member in members if len(turns[member]) == depth + 1]
        if ended:
            yield ended
        continued = [member for member in members if len(turns[member]) > depth + 1]
        branches = _places_by_key([turns[member][depth + 1] for member in continued])
        pending += [(depth + 1, [continued[place] for place in places]) for places in branches]


def _dialogue_limit(size: int) -> int:
    """Return how many dialogues of a set may share an opening that is a question of its own.

    >>> _dialogue_limit(10), _dialogue_limit(60_000)
    (4, 244)
    """
    return max(FEW, math.isqrt(size))


def _count_dialogues(turns: Collection[tuple[str, ...]]) -> int:
    """Count the dialogues that are not the beginning of another."""
    ordered = sorted(turns)
    return sum(
        later[: len(pieces)] != pieces
        for pieces, later in zip(ordered, [*ordered[1:], ()], strict=True)
    )


def _uniform(seed: int, purpose: str, name: str) -> float:
    """Return a pseudo-random number in [0, 1) that depends only on the arguments."""
    digest = hashlib.blake2b(f"{seed}\x1f{purpose}\x1f{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def _split_at(uniform: float, shares: Mapping[str, float]) -> str:
    end = 0.0
    for split, share in shares.items():
        end += share
        if uniform < end:
            return split
    return "train"
