"""Lines of markdown tables, for the pages under docs/ that are made from results."""

from __future__ import annotations

from collections.abc import Iterable


def line(cells: Iterable[str]) -> str:
    """A row, or the heads.

    >>> line(["arm", "gold"])
    '| arm | gold |'
    """
    return "| " + " | ".join(cells) + " |"


def rule(texts: int, numbers: int) -> str:
    """What follows the heads: columns of text, then right-aligned columns of numbers.

    >>> rule(1, 2)
    '|---|---:|---:|'
    """
    return "|" + "---|" * texts + "---:|" * numbers
