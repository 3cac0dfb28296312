"""Measures of a preference model over held-out pairs, all computed over rows.

A margin is the logit of chosen over rejected, so a pair is right when its margin is positive; an
exact tie counts half. Nothing is averaged over batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from westofn.core import _checks
from westofn.core._checks import FloatArray

# Resampled indices held at once: 4 million of 8 bytes.
_BLOCK = 2**22


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap interval.

    Attributes:
        mean: The estimate.
        low: Lower end of its bootstrap percentile interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ReliabilityBin:
    """One point of a reliability curve.

    Attributes:
        p_low: Smallest predicted probability in the bin.
        p_high: Largest one.
        p_mean: Mean predicted probability.
        accuracy: Mean outcome.
        pairs: Number of rows.
    """

    p_low: float
    p_high: float
    p_mean: float
    accuracy: float
    pairs: int


@dataclass(frozen=True)
class ConfidenceOutcome:
    """What the model would label, and whether it is right.

    Attributes:
        confidence: (pairs,), max(p, 1 - p), the probability of the label the model would give.
        correct: (pairs,), 1 where that label is right, 0 where wrong, 1/2 where p = 1/2.
    """

    confidence: FloatArray
    correct: FloatArray


@dataclass(frozen=True)
class LengthBin:
    """Accuracy on pairs of similar length difference.

    Attributes:
        length_difference_low: Smallest chosen - rejected length in the bin.
        length_difference_high: Largest one.
        accuracy: Of the model, on the pairs in the bin.
        pairs: Number of pairs.
    """

    length_difference_low: float
    length_difference_high: float
    accuracy: float
    pairs: int


@dataclass(frozen=True)
class LengthDiagnostics:
    """How much of a model's accuracy length alone explains. None: not defined on these pairs.

    Attributes:
        longest_accuracy: Of a judge who always prefers the longer response; ties half.
        shortest_accuracy: Of one who prefers the shorter; the two sum to 1.
        length_correlation: Pearson's, of margin and chosen - rejected length; None if either is
            constant.
        accuracy_when_chosen_longer: The model's; None without such pairs.
        accuracy_when_chosen_shorter: The model's; None without such pairs.
        bins: The model's accuracy by length difference, shortest first.
    """

    longest_accuracy: float
    shortest_accuracy: float
    length_correlation: float | None
    accuracy_when_chosen_longer: float | None
    accuracy_when_chosen_shorter: float | None
    bins: tuple[LengthBin, ...]


def correctness(margin: ArrayLike) -> FloatArray:
    """Returns 1 for each pair ordered rightly, 0 for wrongly, 1/2 for an exact tie.

    Args:
        margin: (pairs,), logits of chosen over rejected.

    Raises:
        ValueError: No pairs, or a margin that is not finite.

    >>> correctness([2.0, -1.0, 0.0]).tolist()
    [1.0, 0.0, 0.5]
    """
    return (np.sign(_checks.vector("margin", margin)) + 1.0) / 2.0


def accuracy(margin: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Share of pairs ordered rightly, ties counting half.

    Args:
        margin: (pairs,), logits of chosen over rejected.
        mask: bool (pairs,), the pairs that count, such as those whose annotators were confident;
            None is all of them.

    Raises:
        ValueError: No pairs (left), a margin that is not finite, a mask of another shape.

    >>> accuracy([2.0, -1.0, 0.0, 3.0])
    0.625
    >>> accuracy([2.0, -1.0, 0.0, 3.0], mask=[True, False, False, True])
    1.0
    """
    correct = correctness(margin)
    return float(correct.mean() if mask is None else correct[_mask(mask, correct.shape)].mean())


def bootstrap_interval(
    values: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Mean of `values` with a percentile bootstrap interval (Efron and Tibshirani 1993, ch. 13).

    Rows of one prompt are not independent, so whole groups are drawn with replacement.

    Args:
        values: (rows,), for instance `correctness`.
        groups: (rows,), labels of any kind, such as prompt ids; None resamples rows.
        seed: >= 0; equal seeds give equal intervals.
        resamples: >= 1.
        level: In (0, 1), the interval's coverage.

    Raises:
        ValueError: No rows, values that are not finite, groups of another length, resamples < 1, or
            level out of range.

    >>> bootstrap_interval([1.0, 1.0, 1.0], seed=0)
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    rows = _checks.vector("values", values)
    if resamples < 1 or not 0 < level < 1:
        found = f"resamples is {resamples} and level {level}"
        raise ValueError(f"{found}, needs at least 1, and a number in (0, 1)")
    sums, counts = _group_sums(rows, groups)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    block = max(1, _BLOCK // len(sums))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(len(sums), size=(size, len(sums)))
        means[start : start + size] = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(rows.mean()), float(low), float(high))


def paired_bootstrap_difference(
    values: ArrayLike,
    baseline: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Mean of values - baseline, both measured on the same rows, with its bootstrap interval.

    Pairing removes what makes a row hard for both, so it finds differences that two separate
    intervals hide. Arguments and errors as `bootstrap_interval`; `baseline` is (rows,) too.

    >>> paired_bootstrap_difference([0.0, 1.0, 2.0], [-1.0, 0.0, 1.0], seed=0)
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    ours, theirs = _checks.vector("values", values), _checks.vector("baseline", baseline)
    _checks.same_shape(values=ours, baseline=theirs)
    return bootstrap_interval(ours - theirs, groups, seed=seed, resamples=resamples, level=level)


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation; tied values share the mean of their ranks.

    Args:
        first: (n,), at least 2 values.
        second: (n,).

    Returns:
        In [-1, 1]; 0 where one side has a single value.

    Raises:
        ValueError: Different lengths, or fewer than 2 values.

    >>> rank_correlation([1.0, 2.0, 9.0], [10.0, 20.0, 21.0])
    1.0
    """
    a, b = _checks.vector("first", first), _checks.vector("second", second)
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"{len(a)} and {len(b)} values, needs equally many and at least 2")
    ranks = [_mean_ranks(values) for values in (a, b)]
    centred = [rank - rank.mean() for rank in ranks]
    size = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum() / size) if size else 0.0


def _mean_ranks(values: FloatArray) -> FloatArray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    ranks: FloatArray = ((last - counts) + (last - 1))[place] / 2.0
    return ranks


def confidence_and_correctness(p_chosen: ArrayLike) -> ConfidenceOutcome:
    """Turns preference probabilities into what calibration can be measured on.

    In preference data the chosen response has always won, so "outcome given p" is 1 throughout.
    Calibration asks about the label the model would give: its probability, and whether it is right.

    Args:
        p_chosen: (pairs,), the model's P(chosen > rejected).

    Raises:
        ValueError: No pairs, or numbers that are not probabilities.

    >>> pairs = confidence_and_correctness([0.75, 0.25, 0.5])
    >>> pairs.confidence.tolist(), pairs.correct.tolist()
    ([0.75, 0.75, 0.5], [1.0, 0.0, 0.5])
    """
    p = _checks.probabilities("p_chosen", p_chosen)
    return ConfidenceOutcome(np.maximum(p, 1.0 - p), (np.sign(p - 0.5) + 1.0) / 2.0)


def reliability_curve(
    p: ArrayLike, outcome: ArrayLike, bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """Mean outcome against mean probability, in bins of equal mass.

    Equal probabilities share a bin, so the curve does not depend on the order of rows; a bin that
    this leaves empty is absent. Equal mass: Nguyen and O'Connor 2015 (arXiv 1508.05154).

    Args:
        p: (rows,), predicted probabilities.
        outcome: (rows,), in [0, 1]. For preferences see `confidence_and_correctness`.
        bins: At least 1.

    Returns:
        At most `bins` bins, lowest probabilities first; their `pairs` sum to the number of rows.

    Raises:
        ValueError: No rows, different lengths, numbers outside [0, 1], bins < 1.

    >>> reliability_curve([0.25, 0.75, 0.75], [0.0, 1.0, 0.0], bins=2)[1]
    ReliabilityBin(p_low=0.75, p_high=0.75, p_mean=0.75, accuracy=0.5, pairs=2)
    """
    predicted = _checks.probabilities("p", p)
    happened = _checks.probabilities("outcome", outcome)
    _checks.same_shape(p=predicted, outcome=happened)
    return tuple(
        ReliabilityBin(
            p_low=float(predicted[rows].min()),
            p_high=float(predicted[rows].max()),
            p_mean=float(predicted[rows].mean()),
            accuracy=float(happened[rows].mean()),
            pairs=len(rows),
        )
        for rows in _equal_mass(predicted, bins)
    )


def expected_calibration_error(p: ArrayLike, outcome: ArrayLike, bins: int = 10) -> float:
    """Mean gap between probability and outcome over the bins of `reliability_curve`.

    Sum over bins of pairs / rows * |accuracy - p_mean| (Guo et al. 2017, arXiv 1706.04599, Eq. 3),
    in bins of equal mass.

    Args:
        p: (rows,), predicted probabilities.
        outcome: (rows,), in [0, 1]. For preferences see `confidence_and_correctness`.
        bins: At least 1.

    Raises:
        ValueError: As `reliability_curve`.

    >>> expected_calibration_error([0.25, 0.25, 0.75, 0.75], [0.0, 0.0, 1.0, 0.0], bins=2)
    0.25
    """
    curve = reliability_curve(p, outcome, bins)
    rows = sum(part.pairs for part in curve)
    return sum(part.pairs / rows * abs(part.accuracy - part.p_mean) for part in curve)


def brier(p: ArrayLike, outcome: ArrayLike) -> float:
    """Mean squared error of probabilities (Brier 1950).

    Args:
        p: (rows,), predicted probabilities.
        outcome: (rows,), in [0, 1]; all ones when `p` is P(chosen > rejected).

    Raises:
        ValueError: No rows, different lengths, numbers outside [0, 1].

    >>> brier([0.5, 1.0], [1.0, 1.0])
    0.125
    """
    predicted = _checks.probabilities("p", p)
    happened = _checks.probabilities("outcome", outcome)
    _checks.same_shape(p=predicted, outcome=happened)
    return float(np.square(predicted - happened).mean())


def length_diagnostics(
    len_chosen: ArrayLike, len_rejected: ArrayLike, margin: ArrayLike, bins: int = 5
) -> LengthDiagnostics:
    """Measures length bias, against the two judges who look at nothing but length.

    Args:
        len_chosen: (pairs,), lengths in any unit, such as words or tokens.
        len_rejected: (pairs,), in the same unit.
        margin: (pairs,), the model's logits of chosen over rejected.
        bins: Bins of equal mass over the length difference; equal differences share one.

    Raises:
        ValueError: No pairs, different lengths, numbers that are not finite, bins < 1.

    >>> result = length_diagnostics([5, 2, 9, 4], [3, 4, 3, 4], [1.0, 1.0, 2.0, -1.0], bins=1)
    >>> result.longest_accuracy, result.accuracy_when_chosen_longer, result.bins[0].accuracy
    (0.625, 1.0, 0.75)
    """
    chosen = _checks.vector("len_chosen", len_chosen)
    rejected = _checks.vector("len_rejected", len_rejected)
    margins = _checks.vector("margin", margin)
    _checks.same_shape(len_chosen=chosen, len_rejected=rejected, margin=margins)
    difference = chosen - rejected
    longest = accuracy(difference)
    return LengthDiagnostics(
        longest_accuracy=longest,
        shortest_accuracy=1.0 - longest,
        length_correlation=_pearson(margins, difference),
        accuracy_when_chosen_longer=_accuracy_or_none(margins, difference > 0),
        accuracy_when_chosen_shorter=_accuracy_or_none(margins, difference < 0),
        bins=tuple(
            LengthBin(
                length_difference_low=float(difference[rows].min()),
                length_difference_high=float(difference[rows].max()),
                accuracy=accuracy(margins[rows]),
                pairs=len(rows),
            )
            for rows in _equal_mass(difference, bins)
        ),
    )


def _mask(mask: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.shape != shape or not array.any():
        found = f"{array.dtype} {array.shape} with {np.count_nonzero(array)} rows marked"
        raise ValueError(f"mask is {found}, needs bool {shape} with at least one")
    return array


def _group_sums(rows: FloatArray, groups: ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """Returns the sum and the number of rows of each group, both (groups,)."""
    if groups is None:
        return rows, np.ones_like(rows)
    labels = np.asarray(groups)
    if labels.shape != rows.shape:
        raise ValueError(f"groups have shape {labels.shape}, needs {rows.shape}")
    _, index = np.unique(labels, return_inverse=True)
    sums = np.bincount(index, weights=rows).astype(np.float64)
    return sums, np.bincount(index).astype(np.float64)


def _equal_mass(values: FloatArray, bins: int) -> list[NDArray[np.intp]]:
    """Splits rows by value into at most `bins` bins of about equal size; ties stay together."""
    if bins < 1:
        raise ValueError(f"bins is {bins}, needs at least 1")
    # Equal values share the middle of the ranks that they take up: [first, last) in sorted order.
    ordered = np.sort(values)
    first, last = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    index = (first + last) * bins // (2 * len(values))
    return [np.flatnonzero(index == part) for part in np.unique(index)]


def _pearson(x: FloatArray, y: FloatArray) -> float | None:
    """Returns Pearson's correlation, or None when x or y is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    # Scaled by the range first, so that tiny or huge values neither vanish nor overflow.
    dx, dy = ((z - z.mean()) / np.ptp(z) for z in (x, y))
    return float(np.clip((dx @ dy) / math.sqrt((dx @ dx) * (dy @ dy)), -1.0, 1.0))


def _accuracy_or_none(margin: FloatArray, mask: NDArray[np.bool_]) -> float | None:
    return accuracy(margin, mask) if mask.any() else None
