"""Constants of the embedded world, and the two axes along which worlds differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Community = Literal["forum", "panel"]


@dataclass(frozen=True, slots=True)
class Knobs:
    """Continuous constants of the world. Training stages see only the texts.

    Attributes:
        trait_correlation: Correlation of each of a response's four traits (thorough, accurate,
            concise, polished) with its writer's quality; at 0 the defects are independent.
        mood: Standard deviation of a writer's quality between responses.
        defects: Slope of the log-odds of a defect in its trait.
        register: Slope of a word's log-odds in the trait polished, for a word whose register is one
            standard deviation above its slot's mean.
        register_taste: Correlation of a word's register (polished or careless writers use it) with
            its taste (annotators like it). Below 1, annotators like some words of careless writers.
        taste_scale: Gold reward of a word with taste 1.
        habit_spread: Standard deviation of the log-frequencies of words within a slot.
        habit_overlap: Correlation of these log-frequencies between the two communities.
        same_writer: Share of human pairs whose two responses come from equally good writers.
        contrast_share: Share of SFT examples whose prompt has a contrast affix.
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
"""Increase of `trait_correlation` at alignment 1."""


def community_knobs(
    community: Community, alignment: float, off_policyness: float, knobs: Knobs = KNOBS
) -> Knobs:
    """Return the constants of one community for a point on the map of worlds.

    Both axes change two correlations: between a response's traits and its writer's quality
    (`trait_correlation`), and between the words that good writers use and the words that annotators
    like (`register_taste`).

    Args:
        community: "forum" wrote the SFT examples, which the policy imitates; "panel" wrote the
            human pairs.
        alignment: Share, in [0, 1], of the annotators' preferences that the policy's variation
            covers. At 1, good writers use exactly the words that annotators like.
        off_policyness: Difference, in [0, 1], between the variation of the human pairs and of the
            policy's samples. At 0 the panel's texts vary like the forum's; at 1 the panel's words
            and traits are independent of its writers' quality.
        knobs: The constants if both axes are 0.

    Returns:
        The constants with the two correlations of the community.

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
