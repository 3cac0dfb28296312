"""Writers of TL;DRs: a latent quality moves all of a response's defects, partly and together."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from westofn.sources.world.knobs import Community, Knobs
from westofn.sources.world.lexicon import FACTS, FILLERS, TASTE
from westofn.sources.world.posts import Posts

Words = NDArray[np.object_]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Writer:
    """A kind of writer: its mean quality and its share of the texts of the two communities."""

    name: str
    quality: float
    forum_share: float
    panel_share: float

    def share(self, community: Community) -> float:
        """Share of a community's texts."""
        return self.forum_share if community == "forum" else self.panel_share


WRITERS: tuple[Writer, ...] = (
    Writer("editor", quality=1.3, forum_share=0.35, panel_share=0.15),
    Writer("regular", quality=0.4, forum_share=0.30, panel_share=0.40),
    Writer("hurried", quality=-0.5, forum_share=0.20, panel_share=0.35),
    Writer("rambler", quality=-1.5, forum_share=0.15, panel_share=0.10),
)
"""Forum: who wrote the SFT examples. Panel: who wrote the human pairs (off-policy)."""

OPTIONAL = {
    "opener": 0.5,
    "adjective": 0.4,
    "adverb": 0.5,
    "aside": 0.3,
    "connective": 0.7,
    "closer": 0.4,
}
"""How often a writer fills an optional wording slot."""
QUESTION_FIRST: dict[Community, float] = {"forum": 0.1, "panel": 0.4}
"""How often a TL;DR begins with its question: the panel's texts are also built differently."""
_HABITS_SEED = 20240123  # which words the communities happen to use; the same in every world


@dataclass(frozen=True, slots=True)
class Traits:
    """(n,) each; 0 is ordinary, higher is better, one unit is one standard deviation."""

    thorough: Floats
    accurate: Floats
    concise: Floats
    polished: Floats


def draw_quality(
    n: int,
    community: Community,
    rng: np.random.Generator,
    *,
    among: Sequence[Writer] = WRITERS,
) -> Floats:
    """(n,) mean qualities of writers drawn from a community."""
    shares = np.array([writer.share(community) for writer in among])
    qualities: Floats = np.array([writer.quality for writer in among])
    return qualities.take(_categorical(np.tile(shares, (n, 1)), rng))


def draw_traits(quality: Floats, rng: np.random.Generator, knobs: Knobs) -> Traits:
    """Traits of one response for each writer's quality: correlated through the quality only."""
    n, rho = len(quality), knobs.trait_correlation
    today = quality + knobs.mood * rng.standard_normal(n)
    own = np.sqrt(1.0 - rho**2)
    return Traits(*(rho * today + own * rng.standard_normal(n) for _ in range(4)))


def write_responses(
    posts: Posts, quality: Floats, community: Community, rng: np.random.Generator, knobs: Knobs
) -> list[str]:
    """One TL;DR for each post, by a writer of the given mean quality.

    Every response is a row of cells in the order of the grammar; an absent word is "".
    """
    traits = draw_traits(quality, rng, knobs)
    pen = _Pen(posts, traits, community, rng, knobs)
    has_deed = pen.chance(2.4, traits.thorough)
    has_demand = pen.chance(1.6, traits.thorough)
    has_ask = pen.chance(1.6, traits.thorough) | ~(has_deed | has_demand)
    ask_first = has_ask & (rng.random(len(posts)) < QUESTION_FIRST[community])
    ask_last = has_ask & ~ask_first
    ask = (pen.wording("modal"), "i", pen.fact("ask"))
    cells = [
        pen.optional("opener"),
        *(pen.where(ask_first, cell) for cell in ask),
        pen.where(ask_first & (has_deed | has_demand), pen.optional("connective")),
        *(pen.where(has_deed, cell) for cell in pen.deed_clause()),
        *pen.filler_clauses(0),
        pen.where(has_deed & has_demand, pen.optional("connective")),
        *(pen.where(has_demand, cell) for cell in pen.demand_clause()),
        *pen.filler_clauses(2),
        pen.where(ask_last & (has_deed | has_demand), pen.optional("connective")),
        *(pen.where(ask_last, cell) for cell in ask),
        pen.optional("closer"),
    ]
    rows = np.stack(cells, axis=1).tolist()
    return [" ".join(filter(None, row)) for row in rows]


class _Pen:
    """Draws words for all responses at once."""

    def __init__(
        self,
        posts: Posts,
        traits: Traits,
        community: Community,
        rng: np.random.Generator,
        knobs: Knobs,
    ) -> None:
        self._posts, self._traits, self._community = posts, traits, community
        self._rng, self._knobs = rng, knobs

    def chance(self, log_odds: float, trait: Floats) -> Mask:
        """(n,) true with log-odds that rise with the trait."""
        odds = log_odds + self._knobs.defects * trait
        return self._rng.random(len(trait)) < 1.0 / (1.0 + np.exp(-odds))

    def where(self, mask: Mask, words: Words | str) -> Words:
        """The words where the mask holds, else ""."""
        return np.where(mask, words, "").astype(object)

    def wording(self, slot: str) -> Words:
        """(n,) words of a slot: the community's habit, tilted by the polish of each response."""
        words, habit, register = _usage(slot, self._community, self._knobs)
        tilt = self._knobs.register * self._traits.polished
        return words.take(_categorical(np.exp(habit + tilt[:, None] * register), self._rng))

    def optional(self, slot: str) -> Words:
        """Like `wording`, often absent."""
        words = self.wording(slot)
        return self.where(self._rng.random(len(words)) < OPTIONAL[slot], words)

    def fact(self, slot: str) -> Words:
        """(n,) the fact of the post, or by mistake another word of its slot."""
        words = np.array(FACTS[slot], dtype=object)
        stated = self._posts.facts[:, list(FACTS).index(slot)]
        other = (stated + self._rng.integers(1, len(words), size=len(stated))) % len(words)
        return words[np.where(self.chance(-3.4, -self._traits.accurate), other, stated)]

    def deed_clause(self) -> list[Words]:
        """`my annoying boss literally broke that laptop`, with vague words where careless."""
        vague_who = self.chance(-2.2, -self._traits.thorough)
        vague_thing = self.chance(-2.2, -self._traits.thorough)
        adverb = self.optional("adverb")
        again = self.chance(-2.6, -self._traits.concise)
        return [
            self.where(~vague_who, self.wording("determiner")),
            self.where(~vague_who, self.optional("adjective")),
            np.where(vague_who, self.wording("vague_who"), self.fact("who")),
            adverb,
            self.where(again, adverb),
            self.fact("deed"),
            self.where(~vague_thing, self.wording("determiner")),
            np.where(vague_thing, self.wording("vague_thing"), self.fact("thing")),
            self.optional("aside"),
        ]

    def demand_clause(self) -> list[Words]:
        """`bank demands money by friday`, the deadline sometimes left out."""
        vague = self.chance(-2.2, -self._traits.thorough)
        dated = self.chance(1.8, self._traits.thorough)
        return [
            np.where(vague, self.wording("vague_party"), self.fact("party")),
            self.wording("demand"),
            self.fact("want"),
            self.where(dated, self.wording("deadline")),
            self.where(dated, self.fact("when")),
        ]

    def filler_clauses(self, first: int) -> list[Words]:
        """Two kinds of small talk, copied from the post by a writer who is not concise."""
        cells: list[Words] = []
        for topic, filler in enumerate(FILLERS[first : first + 2], start=first):
            stated = self._posts.fillers[:, topic]
            copied = self.chance(-2.2, -self._traits.concise) & (stated >= 0)
            word = np.array(filler.words, dtype=object)[stated]
            cells += [self.where(copied, cell) for cell in (filler.subject, filler.verb, word)]
        return cells


@functools.cache
def _usage(slot: str, community: Community, knobs: Knobs) -> tuple[Words, Floats, Floats]:
    """(k,) words of a slot, the community's log-frequencies, each word's register (mean 0, sd 1).

    Positive registers are words of polished writers. The communities share registers and tastes,
    not habits: a word that is rare among human pairs may be common in the policy's samples.
    """
    words = np.array(list(TASTE[slot]), dtype=object)
    taste = _standardised(np.array(list(TASTE[slot].values())))
    slot_number = list(TASTE).index(slot)
    shared, forum, panel, register = np.random.default_rng(
        [_HABITS_SEED, slot_number]
    ).standard_normal((4, len(words)))
    own = forum if community == "forum" else panel
    overlap, taste_share = knobs.habit_overlap, knobs.register_taste
    habit = np.sqrt(overlap) * shared + np.sqrt(1.0 - overlap) * own
    mixed = taste_share * taste + np.sqrt(1.0 - taste_share**2) * register
    return words, knobs.habit_spread * habit, _standardised(mixed)


def _standardised(values: Floats) -> Floats:
    standardised: Floats = (values - values.mean()) / values.std()
    return standardised


def _categorical(weights: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """One column index for each row of (n, k) unnormalised weights."""
    cumulative = weights.cumsum(axis=1)
    threshold = rng.random((len(weights), 1)) * cumulative[:, -1:]
    column: NDArray[np.int64] = (cumulative <= threshold).sum(axis=1)
    return column
