"""Small tables of pairs whose right answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS

Pair = tuple[str, str, str, str]
"""split, prompt, chosen, rejected."""


def preferences(pairs: Sequence[Pair]) -> pl.DataFrame:
    """Table preferences; a prompt's id is its text."""
    splits, texts, chosen, rejected = zip(*pairs, strict=True)
    return PREFERENCES.frame(
        {
            "pair_id": [f"h{number}" for number in range(len(pairs))],
            "prompt_id": texts,
            "prompt": texts,
            "chosen": chosen,
            "rejected": rejected,
            "split": splits,
            "source": ["hh/x"] * len(pairs),
            "label_source": ["human"] * len(pairs),
            "p_chosen": [None] * len(pairs),
        }
    )


def prompts(unlabeled: Sequence[str]) -> pl.DataFrame:
    """Table prompts with D_U alone."""
    return PROMPTS.frame(
        {
            "prompt_id": unlabeled,
            "prompt": unlabeled,
            "split": ["unlabeled"] * len(unlabeled),
        }
    )


def polite(split: str, count: int, word: str = "please") -> list[Pair]:
    """Pairs of equal length, of which the one with a word is chosen."""
    return [
        (split, f"{split} {word} {number}", f"{word} wait here", "stop waiting here")
        for number in range(count)
    ]
