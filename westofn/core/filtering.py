"""Keeping the synthetic pairs that are sure and in distribution (arXiv 2401.12086)."""

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
    """What became of a pair; every value but `KEPT` is a reason to drop it.

    >>> str(FilterDecision.CONFIDENCE)
    'confidence'
    """

    KEPT = "kept"
    CONFIDENCE = "confidence"
    LIKELIHOOD = "likelihood"
    EMPTY_RESPONSE = "empty_response"
    IDENTICAL = "identical"


@dataclass(frozen=True)
class FilterResult:
    """Which pairs stay, and why the others go.

    Attributes:
        kept: bool (pairs,).
        dropped_by: object (pairs,), None where kept, else "confidence" or "likelihood"; a pair that
            fails both tests counts as "confidence".
        confidence_threshold: Smallest p_chosen that is kept; None when this filter is off.
        likelihood_threshold: Smallest log-likelihood that is kept; None when this filter is off.
    """

    kept: NDArray[np.bool_]
    dropped_by: NDArray[np.object_]
    confidence_threshold: float | None
    likelihood_threshold: float | None


def quantile_threshold(values: ArrayLike, q: float) -> float:
    """Returns the q-quantile of `values`, interpolated linearly (Hyndman and Fan's type 7).

    As `np.quantile`, but its position is rounded to 9 digits: 0.07 * 100 is 7.000000000000001 in
    binary, and a threshold one part in 10**15 too high would drop the value it was meant to keep.

    Args:
        values: (rows,), finite, at least one.
        q: In [0, 1].

    Raises:
        ValueError: No rows, values that are not finite, or q out of range.

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
    """Keeps the pairs that are confident enough and whose responses are both likely enough.

    The confidence threshold is the quantile of `p_chosen` over all pairs; the likelihood threshold
    is the quantile over all responses of all pairs, and holds for the chosen and the rejected one.
    What equals a threshold is kept. None or 0 switches a filter off.

    Args:
        p_chosen: (pairs,), P_theta(y+ > y- | x).
        chosen_loglik: (pairs,), log pi(y+ | x) in nats, a sum or per token (`normalise_logprob`).
        rejected_loglik: (pairs,), the same of y-.
        confidence_quantile: In [0, 1], or None.
        likelihood_quantile: In [0, 1], or None.

    Raises:
        ValueError: No pairs, columns of different lengths, numbers that are not finite or not
            probabilities, or a quantile out of range.

    >>> result = filter_pairs([0.6, 0.9, 0.8], [-1.0, -9.0, -2.0], [-1.0, -1.0, -2.0], 0.5, 0.1)
    >>> result.dropped_by.tolist(), result.confidence_threshold, result.likelihood_threshold
    (['confidence', 'likelihood', None], 0.8, -5.5)
    """
    confidence = _checks.probabilities("p_chosen", p_chosen)
    chosen = _checks.vector("chosen_loglik", chosen_loglik)
    rejected = _checks.vector("rejected_loglik", rejected_loglik)
    _checks.same_shape(p_chosen=confidence, chosen_loglik=chosen, rejected_loglik=rejected)
    sure_from = _threshold(confidence, confidence_quantile)
    likely_from = _threshold(np.concatenate([chosen, rejected]), likelihood_quantile)
    dropped_by = np.full(len(confidence), None, dtype=object)
    # Confidence last: it names the pairs that fail both.
    dropped_by[_below(np.minimum(chosen, rejected), likely_from)] = FilterDecision.LIKELIHOOD.value
    dropped_by[_below(confidence, sure_from)] = FilterDecision.CONFIDENCE.value
    kept = np.array([reason is None for reason in dropped_by], dtype=np.bool_)
    return FilterResult(kept, dropped_by, sure_from, likely_from)


def normalise_logprob(
    logprob: ArrayLike, n_tokens: ArrayLike, normalisation: Normalisation
) -> FloatArray:
    """Returns log-likelihoods as sums, or divided by the number of tokens.

    Args:
        logprob: (rows,), sums over the response's tokens, nats.
        n_tokens: (rows,), at least 1 each.
        normalisation: "sum" (nats a response) or "per_token" (nats a token).

    Returns:
        float64 (rows,).

    Raises:
        ValueError: Rows without tokens, columns of different lengths, an unknown normalisation.

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
