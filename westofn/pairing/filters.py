"""The filter of pairs: every pair is kept, or dropped for a counted reason."""

from __future__ import annotations

import numpy as np
import polars as pl

from westofn.artifacts.pools import FloatArray, IndexArray, Pools
from westofn.core.filtering import FilterResult, filter_pairs, normalise_logprob
from westofn.errors import DataError
from westofn.params.filter import FilterParams

SIDES = ("chosen", "rejected")


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
        counts = self._joined["dropped_by"].drop_nulls().value_counts()
        dropped = dict(zip(counts["dropped_by"], counts["count"], strict=True))
        kept = int(self._joined["dropped_by"].is_null().sum())
        if kept + sum(dropped.values()) != self._joined.height:
            raise AssertionError("filter: rows in are not rows out and dropped")
        summary: dict[str, object] = {
            "pairs_selected": self._joined.height,
            "pairs_kept": kept,
            "dropped": dropped,
        }
        if self._result and self._result.confidence_threshold is not None:
            summary["confidence_threshold"] = self._result.confidence_threshold
        if self._result and self._result.likelihood_threshold is not None:
            summary["likelihood_threshold"] = self._result.likelihood_threshold
        return summary


def filter_frames(pairs: pl.DataFrame, pools: Pools, params: FilterParams) -> Filtered:
    """Decide on every pair.

    Pairs with an empty response or two equal ones go first; the quantiles are of the others.

    Args:
        pairs: With columns prompt_id, chosen_index, rejected_index, p_chosen.
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
    reasons = pl.Series(list(map(unusable, chosen, rejected)), dtype=pl.String)
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
        counts = dict(reasons.value_counts().iter_rows())
        raise DataError(
            f"filter: all {pairs.height} pairs are dropped ({counts}); lower a quantile"
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
