"""Small human pairs whose right answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

Pair = tuple[str, str, str]
"""prompt, chosen, rejected."""


def frame(pairs: Sequence[Pair], labeled: Sequence[bool] | None = None) -> pl.DataFrame:
    """Pairs as the benchmark holds them."""
    rows = pl.DataFrame(list(pairs), schema=["prompt", "chosen", "rejected"], orient="row")
    return rows.with_columns(labeled=pl.Series(labeled or [True] * len(pairs)))


def polite(count: int, word: str = "please") -> list[Pair]:
    """Pairs of equal length, of which the one with a word is chosen."""
    return [
        (f"{word} {number}", f"{word} wait here", "stop waiting here") for number in range(count)
    ]
