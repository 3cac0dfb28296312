"""The filter of pairs: every pair is kept, or dropped for a counted reason."""

from __future__ import annotations

import numpy as np
import polars as pl

from westofn.artifacts.pools import FloatArray, IndexArray, Pools
from westofn.core.filtering import FilterResult, filter_pairs, normalise_logprob
from westofn.errors import DataError
from westofn.execution.account import CUT, LIMIT, TOO_LONG
from westofn.params.filter import FilterParams

SIDES = ("chosen", "rejected")
_MENDS = {
    CUT: f"raise {LIMIT}",
    TOO_LONG: f"raise {LIMIT}",
    "confidence": "lower filter.quantile",
    "likelihood": "lower filter.likelihood_quantile",
    "identical": "raise sample.temperature, at which the responses of a prompt differ",
    "empty_response": "train the policy for longer (sft.steps), which writes nothing yet",
}
"""Reason -> what makes pairs that are not dropped by it."""


class Filtered:
    """Decisions on every pair, the student's preferences, and the account of both."""

    def __init__(self, joined: pl.DataFrame, reasons: pl.Series, result: FilterResult | None):
        self._joined = joined.with_columns(reasons.alias("dropped_by"))
        self._result = result

    @property
    def decisions(self) -> pl.DataFrame:
        """Table decisions."""
        return self._joined.select(
            "prompt_id", pl.col("dropped_by").is_null().alias("kept"), "dropped_by"
        )

    def preferences(self, iteration: str) -> pl.DataFrame:
        """Table preferences: the kept pairs as hard labels of source west_of_n."""
        kept = self._joined.filter(pl.col("dropped_by").is_null())
        return kept.select(
            (pl.lit(f"{iteration}-") + pl.col("prompt_id")).alias("pair_id"),
            "prompt_id",
            "prompt",
            "chosen",
            "rejected",
            pl.lit("train").alias("split"),
            pl.lit(iteration).alias("source"),
            pl.lit("west_of_n").alias("label_source"),
            pl.col("p_chosen"),
        )

    @property
    def summary(self) -> dict[str, object]:
        """Counts by reason, and the thresholds."""
        reasons = self._joined["dropped_by"]
        summary: dict[str, object] = {
            "pairs_selected": self._joined.height,
            "pairs_kept": int(reasons.is_null().sum()),
            "dropped": dict(reasons.drop_nulls().value_counts().iter_rows()),
        }
        if self._result and self._result.confidence_threshold is not None:
            summary["confidence_threshold"] = self._result.confidence_threshold
        if self._result and self._result.likelihood_threshold is not None:
            summary["likelihood_threshold"] = self._result.likelihood_threshold
        return summary


def filter_frames(pairs: pl.DataFrame, pools: Pools, params: FilterParams) -> Filtered:
    """Decide on every pair.

    Pairs that can train no student go first: with an empty response, two equal ones, one that the
    limit of tokens cut, or one that is longer than the limit. The quantiles are of the others.

    Args:
        pairs: With columns prompt_id, chosen_index, rejected_index, p_chosen, fault.
        pools: The candidates that the pairs point to, with log-likelihoods.
        params: The quantiles.

    Raises:
        DataError: A pair points to a candidate that is not there, or no pair is left.
    """
    rows = pools.rows_of(pairs, "filter")
    indices = {side: pools.indices_of(pairs, side, "filter") for side in SIDES}
    chosen, rejected = (
        [pools.responses[row][index] for row, index in zip(rows, indices[side], strict=True)]
        for side in SIDES
    )
    joined = pairs.with_columns(
        pl.Series("prompt", [pools.prompts[row] for row in rows], dtype=pl.String),
        pl.Series("chosen", chosen, dtype=pl.String),
        pl.Series("rejected", rejected, dtype=pl.String),
    )
    reasons = pl.Series(
        [
            unusable(first, second) or fault
            for first, second, fault in zip(chosen, rejected, pairs["fault"], strict=True)
        ],
        dtype=pl.String,
    )
    usable, result = reasons.is_null().to_numpy(), None
    if usable.any():
        chosen_loglik, rejected_loglik = (
            _likelihoods(pools, rows[usable], indices[side][usable], params) for side in SIDES
        )
        result = filter_pairs(
            pairs["p_chosen"].to_numpy()[usable],
            chosen_loglik,
            rejected_loglik,
            params.quantile,
            params.likelihood_quantile,
        )
        reasons = reasons.scatter(np.flatnonzero(usable), list(result.dropped_by))
    if not reasons.is_null().any():
        counts = dict(reasons.value_counts(sort=True).iter_rows())
        shown = ", ".join(f"{count} as {reason}" for reason, count in counts.items())
        raise DataError(
            f"filter: all {pairs.height} pairs are dropped: {shown}; {_MENDS[next(iter(counts))]}"
        )
    return Filtered(joined, reasons, result)


def unusable(chosen: str, rejected: str) -> str | None:
    """Why two responses can be no pair, whatever a model thinks of them; None if they can.

    >>> unusable("good", " "), unusable("good", "good"), unusable("good", "bad")
    ('empty_response', 'identical', None)
    """
    if not chosen.strip() or not rejected.strip():
        return "empty_response"
    return "identical" if chosen == rejected else None


def _likelihoods(
    pools: Pools, rows: IndexArray, indices: IndexArray, params: FilterParams
) -> FloatArray:
    """Log-likelihoods of candidates, (pairs,), as the filter compares them."""
    logprob, n_tokens = pools.likelihoods
    return normalise_logprob(
        logprob[rows, indices], n_tokens[rows, indices], params.likelihood_normalisation
    )
