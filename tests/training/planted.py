"""Pairs and examples in which something simple is planted, for tests of training."""

from __future__ import annotations

import random

from tests.small_models import VOCABULARY
from westofn.training.pairs import Preferences

FILLERS = [word for word in VOCABULARY if word not in ("good", "bad")]


def planted_pairs(count: int, seed: int, shuffled: bool = False) -> Preferences:
    """The response with "good" in it is chosen over the one with "bad", or either if shuffled."""
    chance = random.Random(seed)
    prompts, chosen, rejected = [], [], []
    for _ in range(count):
        prompts.append(" ".join(chance.choices(FILLERS, k=3)))
        pair = []
        for word in ("good", "bad"):
            text = chance.choices(FILLERS, k=chance.randint(1, 3))
            text.insert(chance.randint(0, len(text)), word)
            pair.append(" ".join(text))
        if shuffled and chance.random() < 0.5:
            pair.reverse()
        chosen.append(pair[0])
        rejected.append(pair[1])
    return Preferences(prompts, chosen, rejected, [1.0] * count)
