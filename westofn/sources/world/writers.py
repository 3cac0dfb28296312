"""Writers of TL;DRs; a writer's latent quality is correlated with all defects of a response."""

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
    """A kind of writer: mean quality, and share of the texts of each community."""

    name: str
    quality: float
    forum_share: float
    panel_share: float

    def share(self, community: Community) -> float:
        """Return the writer's share of a community's texts."""
        return self.forum_share if community == "forum" else self.panel_share


WRITERS: tuple[Writer, ...] = (
    Writer("editor", quality=1.3, forum_share=0.35, panel_share=0.15),
    Writer("regular", quality=0.4, forum_share=0.30, panel_share=0.40),
    Writer("hurried", quality=-0.5, forum_share=0.20, panel_share=0.35),
    Writer("rambler", quality=-1.5, forum_share=0.15, panel_share=0.10),
)
"""The forum writes the SFT examples; the panel writes the human pairs (off-policy)."""

OPTIONAL = {
    "opener": 0.5,
    "adjective": 0.4,
    "adverb": 0.5,
    "aside": 0.3,
    "connective": 0.7,
    "closer": 0.4,
}
"""Optional wording slot -> probability that a writer fills it."""
QUESTION_FIRST: dict[Community, float] = {"forum": 0.1, "panel": 0.4}
"""Community -> probability that a TL;DR begins with the question."""
_HABITS_SEED = 20240123  # seed of the communities' word frequencies, equal in all worlds


@dataclass(frozen=True, slots=True)
class Traits:
    """Traits of n responses, (n,) each, in standard deviations from the mean; higher is better."""

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
    """Draw n writers of a community and return their mean qualities (n,)."""
    shares = np.array([writer.share(community) for writer in among])
    qualities: Floats = np.array([writer.quality for writer in among])
    return qualities.take(_categorical(np.tile(shares, (n, 1)), rng))


def draw_traits(quality: Floats, rng: np.random.Generator, knobs: Knobs) -> Traits:
    """Draw the traits of one response per writer; they are correlated only through quality."""
    n, rho = len(quality), knobs.trait_correlation
    response_quality = quality + knobs.mood * rng.standard_normal(n)
    independent = np.sqrt(1.0 - rho**2)
    return Traits(
        *(rho * response_quality + independent * rng.standard_normal(n) for _ in range(4))
    )


def write_responses(
    posts: Posts, quality: Floats, community: Community, rng: np.random.Generator, knobs: Knobs
) -> list[str]:
    """Generate one TL;DR for each post, by a writer with the given mean quality.

    A response is a row of words in the order of the grammar; an absent word is "".
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
    """Draws the words of all responses at once."""

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
        """Draw (n,) booleans whose log-odds increase with the trait."""
        odds = log_odds + self._knobs.defects * trait
        return self._rng.random(len(trait)) < 1.0 / (1.0 + np.exp(-odds))

    def where(self, mask: Mask, words: Words | str) -> Words:
        """Return the words where the mask is true, else ""."""
        return np.where(mask, words, "").astype(object)

    def wording(self, slot: str) -> Words:
        """Draw (n,) words of a slot by the community's habits and the polish of each response."""
        words, habit, register = _usage(slot, self._community, self._knobs)
        tilt = self._knobs.register * self._traits.polished
        return words.take(_categorical(np.exp(habit + tilt[:, None] * register), self._rng))

    def optional(self, slot: str) -> Words:
        """Draw words like `wording`, but leave the slot empty at its rate."""
        words = self.wording(slot)
        return self.where(self._rng.random(len(words)) < OPTIONAL[slot], words)

    def fact(self, slot: str) -> Words:
        """Draw (n,) the fact of the post, or by mistake another word of the slot."""
        words = np.array(FACTS[slot], dtype=object)
        stated = self._posts.facts[:, list(FACTS).index(slot)]
        other = (stated + self._rng.integers(1, len(words), size=len(stated))) % len(words)
        return words[np.where(self.chance(-3.4, -self._traits.accurate), other, stated)]

    def deed_clause(self) -> list[Words]:
        """Draw clauses like `my lousy boss literally broke that laptop`, some with vague words."""
        vague_who = self.chance(-2.2, -self._traits.thorough)
        vague_thing = self.chance(-2.2, -self._traits.thorough)
        adverb = self.optional("adverb")
        repeat_adverb = self.chance(-2.6, -self._traits.concise)
        return [
            self.where(~vague_who, self.wording("determiner")),
            self.where(~vague_who, self.optional("adjective")),
            np.where(vague_who, self.wording("vague_who"), self.fact("who")),
            adverb,
            self.where(repeat_adverb, adverb),
            self.fact("deed"),
            self.where(~vague_thing, self.wording("determiner")),
            np.where(vague_thing, self.wording("vague_thing"), self.fact("thing")),
            self.optional("aside"),
        ]

    def demand_clause(self) -> list[Words]:
        """Draw clauses like `bank demands money by friday`, some without the deadline."""
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
        """Draw two kinds of small talk, which writers who are not concise copy from the post."""
        cells: list[Words] = []
        for topic, filler in enumerate(FILLERS[first : first + 2], start=first):
            stated = self._posts.fillers[:, topic]
            copied = self.chance(-2.2, -self._traits.concise) & (stated >= 0)
            word = np.array(filler.words, dtype=object)[stated]
            cells += [self.where(copied, cell) for cell in (filler.subject, filler.verb, word)]
        return cells


@functools.cache
def _usage(slot: str, community: Community, knobs: Knobs) -> tuple[Words, Floats, Floats]:
    """Return a slot's words, the community's log-frequencies, and the words' registers; (k,) each.

    Polished writers prefer words with a positive register (mean 0, standard deviation 1). The
    communities share registers and tastes but not frequencies: a word that is rare in human pairs
    can be common in the policy's samples.
    """
    words = np.array(list(TASTE[slot]), dtype=object)
    taste = _standardised(np.array(list(TASTE[slot].values())))
    slot_number = list(TASTE).index(slot)
    shared_habit, forum, panel, register = np.random.default_rng(
        [_HABITS_SEED, slot_number]
    ).standard_normal((4, len(words)))
    community_habit = forum if community == "forum" else panel
    overlap, taste_share = knobs.habit_overlap, knobs.register_taste
    habit = np.sqrt(overlap) * shared_habit + np.sqrt(1.0 - overlap) * community_habit
    register_values = taste_share * taste + np.sqrt(1.0 - taste_share**2) * register
    return words, knobs.habit_spread * habit, _standardised(register_values)


def _standardised(values: Floats) -> Floats:
    standardised: Floats = (values - values.mean()) / values.std()
    return standardised


def _categorical(weights: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw one column index for each row of (n, k) unnormalised weights."""
    cumulative = weights.cumsum(axis=1)
    threshold = rng.random((len(weights), 1)) * cumulative[:, -1:]
    column: NDArray[np.int64] = (cumulative <= threshold).sum(axis=1)
    return column
