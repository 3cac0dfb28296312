"""Candidates that may form a pair: responses that ended and that fit the limit of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from westofn.artifacts.pools import BoolArray, IndexArray, Pools
from westofn.execution.account import Limit
from westofn.text.encoding import Encoder


@dataclass(frozen=True)
class Faults:
    """Candidates that may form no pair.

    Attributes:
        cut: bool (P, N), whether the limit of tokens cut the response before its end token.
        too_long: bool (P, N), whether the text of a response that is not cut has more tokens than
            the limit: another tokenizer reads it, or the same one reads it otherwise than sampled.
        limit: The limit, and the one that would keep 95 % of the candidates' texts.
    """

    cut: BoolArray
    too_long: BoolArray
    limit: Limit

    @classmethod
    def of(cls, lengths: IndexArray, cut: BoolArray, limit: int) -> Faults:
        """The faults by `lengths_and_cuts` and the limit of tokens."""
        return cls(cut, (lengths > limit) & ~cut, Limit.of(limit, lengths.ravel()))

    @property
    def usable(self) -> BoolArray:
        """(P, N), whether a candidate may form a pair."""
        return ~(self.cut | self.too_long)

    def of_pairs(self, best: IndexArray, worst: IndexArray) -> list[str | None]:
        """Return why the pairs (P,) of the pools can train no reward model; None if they can."""
        rows = np.arange(len(best))
        cut, too_long = (
            fault[rows, best] | fault[rows, worst] for fault in (self.cut, self.too_long)
        )
        return _named(cut, too_long)

    def of_pools(self, rows: IndexArray) -> list[str | None]:
        """Return the fault of each candidate of these pools, pool after pool; None: it has none."""
        return _named(self.cut[rows].ravel(), self.too_long[rows].ravel())


def _named(cut: BoolArray, too_long: BoolArray) -> list[str | None]:
    return [
        "cut" if is_cut else "too_long" if is_long else None
        for is_cut, is_long in zip(cut, too_long, strict=True)
    ]


def find_faults(pools: Pools, encoder: Encoder) -> Faults:
    """Find the candidates that may form no pair.

    Args:
        pools: P prompts with N candidates each.
        encoder: The encoder of the reward models, which all have the same.
    """
    lengths, cut = lengths_and_cuts(pools, encoder)
    return Faults.of(lengths, cut, encoder.template.max_response_tokens)


def lengths_and_cuts(pools: Pools, encoder: Encoder) -> tuple[IndexArray, BoolArray]:
    """Return the tokens of each response's text, and whether the limit cut it; both (P, N)."""
    lengths = np.array([encoder.response_lengths(pool) for pool in pools.responses], np.int64)
    cut = np.zeros(lengths.shape, np.bool_) if pools.unfinished is None else pools.unfinished
    return lengths, cut
