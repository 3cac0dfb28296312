"""Row checks that several tables share."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from westofn.artifacts.table import Check


def not_blank(column: str) -> Check:
    """Require text that is more than white space."""
    return Check(f"{column} is not blank", pl.col(column).str.strip_chars() == "", (column,))


def one_of(column: str, values: Sequence[str]) -> Check:
    """Require one of a fixed list of texts."""
    return Check(
        f"{column} is one of {', '.join(values)}", ~pl.col(column).is_in(list(values)), (column,)
    )


def probability(column: str) -> Check:
    """Require 0 ≤ value ≤ 1; refuse NaN."""
    return Check(f"0 ≤ {column} ≤ 1", ~pl.col(column).is_between(0.0, 1.0), (column,))


def finite(column: str) -> Check:
    """Refuse NaN and infinity."""
    return Check(f"{column} is finite", ~pl.col(column).is_finite(), (column,))


def at_least(column: str, minimum: int) -> Check:
    """Require a whole number of at least `minimum`."""
    return Check(f"{column} ≥ {minimum}", pl.col(column) < minimum, (column,))


def differ(left: str, right: str) -> Check:
    """Require different values in two columns."""
    return Check(f"{left} ≠ {right}", pl.col(left) == pl.col(right), (left,))


def one_split_a_prompt(*, unless_only: bool = False) -> Check:
    """Require one split for all rows of a prompt; `unless_only`: of a table with other prompts."""
    fault = pl.col("split").n_unique().over("prompt_id") > 1
    rule = "all rows of a prompt_id lie in one split"
    if unless_only:
        fault &= pl.col("prompt_id").n_unique() > 1
        rule += ", if there are others"
    return Check(rule, fault, ("prompt_id", "split"))
