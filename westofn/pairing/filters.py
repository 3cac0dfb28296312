"""The filter on frames: every pair is kept, or dropped for a counted reason."""

from __future__ import annotations

import polars as pl

from westofn.core.filtering import FilterResult, filter_pairs, normalise_logprob
from westofn.errors import DataError
from westofn.params.filter import FilterParams


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
            raise AssertionError("filter lost count of its rows")
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


def filter_frames(
    pairs: pl.DataFrame, candidates: pl.DataFrame, prompts: pl.DataFrame, params: FilterParams
) -> Filtered:
    """Decide on every pair.

    Pairs with an empty response or two equal ones go first; the quantiles are of the others.

    Raises:
        DataError: No pair is left for the student.
    """
    pool = candidates.select("prompt_id", "candidate_index", "response", "logprob", "n_tokens")
    joined = pairs.join(
        prompts.select("prompt_id", "prompt"), on="prompt_id", how="inner", maintain_order="left"
    )
    for side in ("chosen", "rejected"):
        joined = joined.join(
            pool.rename({"response": side, "logprob": f"{side}_lp", "n_tokens": f"{side}_n"}),
            left_on=("prompt_id", f"{side}_index"),
            right_on=("prompt_id", "candidate_index"),
            how="inner",
            maintain_order="left",
        )
    if joined.height != pairs.height:
        raise DataError(
            f"filter: {pairs.height - joined.height} of {pairs.height} pairs point to candidates "
            "or prompts that are not there; rerun sample and won_select"
        )
    reasons = joined.select(
        pl.when(
            (pl.col("chosen").str.strip_chars() == "")
            | (pl.col("rejected").str.strip_chars() == "")
        )
        .then(pl.lit("empty_response"))
        .when(pl.col("chosen") == pl.col("rejected"))
        .then(pl.lit("identical"))
        .alias("reason")
    )["reason"].cast(pl.String)
    usable = reasons.is_null()
    result = None
    if usable.any():
        some = joined.filter(usable)
        chosen, rejected = (
            normalise_logprob(
                some[f"{side}_lp"].to_numpy(),
                some[f"{side}_n"].to_numpy(),
                params.likelihood_normalisation,
            )
            for side in ("chosen", "rejected")
        )
        result = filter_pairs(
            some["p_chosen"].to_numpy(),
            chosen,
            rejected,
            params.quantile,
            params.likelihood_quantile,
        )
        reasons = reasons.scatter(usable.arg_true(), list(result.dropped_by))
    if not reasons.is_null().any():
        counts = dict(reasons.value_counts().iter_rows())
        raise DataError(
            f"filter: all {pairs.height} pairs are dropped ({counts}); lower a quantile"
        )
    return Filtered(joined, reasons, result)
