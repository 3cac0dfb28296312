"""The filter of pairs: every pair is kept, or dropped for a counted reason."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from westofn.artifacts.pools import PoolRows
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


def filter_frames(
    pairs: pl.DataFrame, candidates: Iterable[PoolRows], params: FilterParams
) -> Filtered:
    """Decide on every pair.

    Pairs that can train no student go first: with an empty response, two equal ones, one that the
    limit of tokens cut, or one that is longer than the limit. The quantiles are of the others.

    Args:
        pairs: With columns prompt_id, chosen_index, rejected_index, p_chosen, fault.
        candidates: The pools that the pairs point to, each in one part; of a part nothing but the
            candidates of pairs is kept.
        params: The quantiles.

    Raises:
        DataError: A pair points to a candidate that is not there, or no pair is left.
    """
    joined = _with_candidates(pairs, candidates)
    chosen, rejected = (joined[side].to_list() for side in SIDES)
    reasons = pl.Series(
        [
            unusable(first, second) or fault
            for first, second, fault in zip(chosen, rejected, joined["fault"], strict=True)
        ],
        dtype=pl.String,
    )
    usable, result = reasons.is_null().to_numpy(), None
    if usable.any():
        left = joined.filter(usable)
        chosen_loglik, rejected_loglik = (
            normalise_logprob(
                left[f"{side}_logprob"], left[f"{side}_n_tokens"], params.likelihood_normalisation
            )
            for side in SIDES
        )
        result = filter_pairs(
            left["p_chosen"].to_numpy(),
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


def _with_candidates(pairs: pl.DataFrame, candidates: Iterable[PoolRows]) -> pl.DataFrame:
    """Add the columns prompt, SIDE, SIDE_logprob and SIDE_n_tokens of both sides to pairs.

    Raises:
        DataError: A prompt or a candidate is not there.
    """
    numbered = pairs.with_row_index("row")
    parts = []
    beyond = dict.fromkeys(SIDES, 0)
    for pools in candidates:
        places = pools.prompts.with_row_index("place")
        part = numbered.join(places, on="prompt_id", how="inner", maintain_order="left")
        first = part["place"].to_numpy().astype(np.int64) * pools.size
        for side in SIDES:
            index = part[f"{side}_index"].to_numpy()
            beyond[side] += int((index >= pools.size).sum())
            rows = pools.candidates[first + np.minimum(index, pools.size - 1)]
            part = part.with_columns(
                # Texts of their own, beside which those of the other candidates need not stay.
                pl.Series(side, rows["response"].to_list(), dtype=pl.String),
                rows["logprob"].alias(f"{side}_logprob"),
                rows["n_tokens"].alias(f"{side}_n_tokens"),
            )
        parts.append(part.drop("place"))
    joined = pl.concat(parts).sort("row")
    for missing in (pairs.height - joined.height, *beyond.values()):
        if missing:
            raise DataError(
                f"filter: {missing} of {pairs.height} pairs point to candidates or prompts that "
                "are not there; both must come from one run of sample: rerun sample and won_select"
            )
    return joined
