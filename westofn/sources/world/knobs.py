"""The continuous constants of the embedded world, and the two axes along which worlds differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Community = Literal["forum", "panel"]


@dataclass(frozen=True, slots=True)
class Knobs:
    """How hard the world is. Nothing here reaches a training stage except through the text.

    Attributes:
        trait_correlation: Correlation of each of a response's four traits (thorough, accurate,
            concise, polished) with its writer's quality; 1 moves all defects together, 0 apart.
        mood: Standard deviation of one writer's quality from response to response.
        defects: Slope of the log-odds of every defect in its trait.
        register: How far a careless writer's wording leans to careless words (log-odds a standard
            deviation of the trait, for a word one standard deviation from its slot's mean).
        register_taste: Correlation of a word's register (who uses it) with its taste (who likes
            it); below 1 some words of careless writers are liked, and only labels tell which.
        taste_scale: Gold reward of a word of taste 1.
        habit_spread: Standard deviation of the log-frequencies of words within a slot.
        habit_overlap: Correlation of these log-frequencies between the two communities.
        same_writer: Share of human pairs whose two responses come from equally good writers.
        contrast_share: Share of SFT examples whose prompt carries a contrast affix.
    """

    trait_correlation: float = 0.75
    mood: float = 0.4
    defects: float = 1.0
    register: float = 1.3
    register_taste: float = 0.0
    taste_scale: float = 1.2
    habit_spread: float = 1.2
    habit_overlap: float = 0.8
    same_writer: float = 0.85
    contrast_share: float = 0.2


KNOBS = Knobs()

TRAITS_ALIGNED = 0.2
"""What an alignment of 1 adds to `trait_correlation`."""


def community_knobs(
    community: Community, alignment: float, off_policyness: float, knobs: Knobs = KNOBS
) -> Knobs:
    """The constants of one community at a place on the map of worlds.

    Both axes act on two correlations: of a response's traits with its writer's quality
    (`trait_correlation`), and of the words that good writers use with the words that annotators
    like (`register_taste`).

    Args:
        community: forum wrote the SFT examples, so the policy varies as the forum does. Panel wrote
            the human pairs.
        alignment: In [0, 1]. How much of what annotators like is what the policy's samples vary
            in. At 1, good writers use exactly the words that annotators like.
        off_policyness: In [0, 1]. How much the human pairs vary in ways of their own. At 0 the
            panel's texts vary as the forum's do; at 1 the panel's words and traits have nothing to
            do with its writers' quality.
        knobs: The constants where both axes are 0.

    Returns:
        The constants with the two correlations of this community.

    >>> forum = community_knobs("forum", alignment=1.0, off_policyness=1.0)
    >>> forum.register_taste, round(forum.trait_correlation, 2)
    (1.0, 0.95)
    >>> panel = community_knobs("panel", alignment=1.0, off_policyness=1.0)
    >>> panel.register_taste, panel.trait_correlation
    (0.0, 0.0)
    """
    shared = 1.0 if community == "forum" else 1.0 - off_policyness
    register_taste = knobs.register_taste + (1.0 - knobs.register_taste) * alignment
    return replace(
        knobs,
        register_taste=shared * register_taste,
        trait_correlation=shared * min(1.0, knobs.trait_correlation + TRAITS_ALIGNED * alignment),
    )
