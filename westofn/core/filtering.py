"""Filter synthetic pairs by confidence and by likelihood under the policy (arXiv 2401.12086)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from westofn.core import _checks
from westofn.core._checks import FloatArray

Normalisation = Literal["sum", "per_token"]


class FilterDecision(StrEnum):
    """The filter's decision about a pair; every value except `KEPT` is a reason to drop it.

    >>> str(FilterDecision.CONFIDENCE)
    'confidence'
    """

    KEPT = "kept"
    CONFIDENCE = "confidence"
    LIKELIHOOD = "likelihood"
    EMPTY_RESPONSE = "empty_response"
    IDENTICAL = "identical"
    CUT = "cut"
    TOO_LONG = "too_long"


@dataclass(frozen=True)
class FilterResult:
    """The kept pairs, and the reason for each dropped pair.

    Attributes:
        kept: bool (pairs,), whether the pair is kept.
        dropped_by: object (pairs,), None if kept, else "confidence" or "likelihood"; a pair that
            fails both tests has "confidence".
        confidence_threshold: Smallest p_chosen that is kept; None if this filter is off.
        likelihood_threshold: Smallest log-likelihood that is kept; None if this filter is off.
    """

    kept: NDArray[np.bool_]
    dropped_by: NDArray[np.object_]
    confidence_threshold: float | None
    likelihood_threshold: float | None


def quantile_threshold(values: ArrayLike, q: float) -> float:
    """Return the q-quantile of `values`, interpolated linearly (Hyndman and Fan's type 7).

    Unlike `np.quantile` it rounds the position to 9 digits: 0.07 * 100 is 7.000000000000001 in
    binary, and a threshold that is too high by rounding would drop the value it should keep.

    Args:
        values: (rows,), finite numbers, at least one.
        q: Quantile in [0, 1].

    Raises:
        ValueError: There are no rows, a value is not finite, or q is out of range.

    >>> quantile_threshold([4.0, 1.0, 2.0, 3.0], 0.25)
    1.75
    """
    ordered = np.sort(_checks.vector("values", values))
    position = round(_checks.fraction("q", q) * (len(ordered) - 1), 9)
    below, above = ordered[math.floor(position)], ordered[math.ceil(position)]
    return float(below + (above - below) * (position - math.floor(position)))


def filter_pairs(
    p_chosen: ArrayLike,
    chosen_loglik: ArrayLike,
    rejected_loglik: ArrayLike,
    confidence_quantile: float | None,
    likelihood_quantile: float | None,
) -> FilterResult:
    """Keep the pairs with a confident label and two likely responses.

    The confidence threshold is a quantile of `p_chosen` over all pairs. The likelihood threshold is
    a quantile over all responses of all pairs, and both responses of a pair must reach it. A value
    equal to a threshold is kept. None or 0 switches a filter off.

    Args:
        p_chosen: (pairs,), probability P_theta(y+ > y- | x).
        chosen_loglik: (pairs,), log pi(y+ | x) in nats, summed or per token (`normalise_logprob`).
        rejected_loglik: (pairs,), log pi(y- | x) in the same unit.
        confidence_quantile: Quantile in [0, 1] of `p_chosen`, or None.
        likelihood_quantile: Quantile in [0, 1] of the log-likelihoods, or None.

    Raises:
        ValueError: There are no pairs, lengths differ, a number is not finite or not a
            probability, or a quantile is out of range.

    >>> result = filter_pairs([0.6, 0.9, 0.8], [-1.0, -9.0, -2.0], [-1.0, -1.0, -2.0], 0.5, 0.1)
    >>> result.dropped_by.tolist(), result.confidence_threshold, result.likelihood_threshold
    (['confidence', 'likelihood', None], 0.8, -5.5)
    """
    confidence = _checks.probabilities("p_chosen", p_chosen)
    chosen = _checks.vector("chosen_loglik", chosen_loglik)
    rejected = _checks.vector("rejected_loglik", rejected_loglik)
    _checks.same_shape(p_chosen=confidence, chosen_loglik=chosen, rejected_loglik=rejected)
    min_confidence = _threshold(confidence, confidence_quantile)
    min_likelihood = _threshold(np.concatenate([chosen, rejected]), likelihood_quantile)
    dropped_by = np.full(len(confidence), None, dtype=object)
    # Confidence is written last, so it is the reason of pairs that fail both tests.
    dropped_by[_below(np.minimum(chosen, rejected), min_likelihood)] = (
        FilterDecision.LIKELIHOOD.value
    )
    dropped_by[_below(confidence, min_confidence)] = FilterDecision.CONFIDENCE.value
    kept = np.array([reason is None for reason in dropped_by], dtype=np.bool_)
    return FilterResult(kept, dropped_by, min_confidence, min_likelihood)


def normalise_logprob(
    logprob: ArrayLike, n_tokens: ArrayLike, normalisation: Normalisation
) -> FloatArray:
    """Return log-likelihoods as sums, or divided by the number of tokens.

    Args:
        logprob: (rows,), sums over the response's tokens, nats.
        n_tokens: (rows,), number of tokens, at least 1.
        normalisation: "sum" (nats a response) or "per_token" (nats a token).

    Returns:
        float64 (rows,), nats a response or a token.

    Raises:
        ValueError: A row has no tokens, lengths differ, or the normalisation is unknown.

    >>> normalise_logprob([-6.0, -6.0], [2, 3], "per_token").tolist()
    [-3.0, -2.0]
    """
    total, tokens = _checks.vector("logprob", logprob), _checks.vector("n_tokens", n_tokens)
    _checks.same_shape(logprob=total, n_tokens=tokens)
    if tokens.min() < 1:
        raise ValueError(f"n_tokens has a row of {tokens.min():g}, needs at least 1")
    if normalisation not in get_args(Normalisation):
        raise ValueError(f"normalisation is {normalisation!r}, needs 'sum' or 'per_token'")
    return total / tokens if normalisation == "per_token" else total


def _threshold(values: FloatArray, quantile: float | None) -> float | None:
    return quantile_threshold(values, quantile) if quantile else None


def _below(values: FloatArray, threshold: float | None) -> NDArray[np.bool_]:
    return np.zeros(len(values), dtype=np.bool_) if threshold is None else values < threshold
