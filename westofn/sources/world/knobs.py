"""The continuous constants of the embedded world, in one place."""

from __future__ import annotations

from dataclasses import dataclass


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
