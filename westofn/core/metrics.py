"""Metrics of a preference model on held-out pairs: accuracy, calibration, length bias, intervals.

A margin is the logit of chosen over rejected, so a pair is ordered correctly if its margin is
positive; an exact tie counts half. All means are over rows, not over batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from westofn.core import _checks
from westofn.core._checks import FloatArray

# Number of resampled indices (8 bytes each) held in memory at once.
_BLOCK = 2**22


@dataclass(frozen=True)
class Interval:
    """A mean and its percentile bootstrap interval.

    Attributes:
        mean: The estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ReliabilityBin:
    """One point of a reliability curve.

    Attributes:
        p_low: Smallest predicted probability in the bin.
        p_high: Largest predicted probability in the bin.
        p_mean: Mean predicted probability.
        accuracy: Mean outcome in the bin.
        pairs: Number of rows in the bin.
    """

    p_low: float
    p_high: float
    p_mean: float
    accuracy: float
    pairs: int


@dataclass(frozen=True)
class ConfidenceOutcome:
    """The model's predicted labels: their probability and their correctness.

    Attributes:
        confidence: (pairs,), probability of the predicted label, max(p, 1 - p).
        correct: (pairs,), 1 if the predicted label is correct, 0 if wrong, 1/2 if p = 1/2.
    """

    confidence: FloatArray
    correct: FloatArray


@dataclass(frozen=True)
class LengthBin:
    """Accuracy on pairs with similar length differences.

    Attributes:
        length_difference_low: Smallest chosen - rejected length in the bin.
        length_difference_high: Largest chosen - rejected length in the bin.
        accuracy: The model's accuracy on the pairs in the bin.
        pairs: Number of pairs in the bin.
    """

    length_difference_low: float
    length_difference_high: float
    accuracy: float
    pairs: int


@dataclass(frozen=True)
class LengthDiagnostics:
    """Length bias of a model. A value is None if it is undefined for these pairs.

    Attributes:
        longest_accuracy: Accuracy of always preferring the longer response; ties count half.
        shortest_accuracy: Accuracy of always preferring the shorter response; 1 - longest_accuracy.
        length_correlation: Pearson correlation of margin and chosen - rejected length; None if
            either is constant.
        accuracy_when_chosen_longer: The model's accuracy on these pairs; None without such pairs.
        accuracy_when_chosen_shorter: The model's accuracy on these pairs; None without such pairs.
        bins: The model's accuracy by length difference, smallest difference first.
    """

    longest_accuracy: float
    shortest_accuracy: float
    length_correlation: float | None
    accuracy_when_chosen_longer: float | None
    accuracy_when_chosen_shorter: float | None
    bins: tuple[LengthBin, ...]


def correctness(margin: ArrayLike) -> FloatArray:
    """Return 1 for each correctly ordered pair, 0 for an incorrectly ordered one, 1/2 for a tie.

    Args:
        margin: (pairs,), logits of chosen over rejected.

    Raises:
        ValueError: There are no pairs, or a margin is not finite.

    >>> correctness([2.0, -1.0, 0.0]).tolist()
    [1.0, 0.0, 0.5]
    """
    return (np.sign(_checks.vector("margin", margin)) + 1.0) / 2.0


def accuracy(margin: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Share of correctly ordered pairs; ties count half.

    Args:
        margin: (pairs,), logits of chosen over rejected.
        mask: bool (pairs,), the pairs to include, such as those with confident annotators;
            None: all pairs.

    Raises:
        ValueError: There are no pairs to include, a margin is not finite, or the mask has another
            shape.

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

    Rows of one prompt are not independent, so whole groups are resampled with replacement.

    Args:
        values: (rows,), numbers to average, for example `correctness`.
        groups: (rows,), group labels such as prompt ids; None: every row is a group.
        seed: Random seed, at least 0.
        resamples: Number of bootstrap samples, at least 1.
        level: Coverage of the interval in (0, 1).

    Raises:
        ValueError: There are no rows, a value is not finite, the number of groups differs from
            the number of rows, or resamples or level is out of range.

    >>> bootstrap_interval([1.0, 1.0, 1.0], seed=0)
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    rows = _checks.vector("values", values)
    if resamples < 1 or not 0 < level < 1:
        arguments = f"resamples is {resamples} and level {level}"
        raise ValueError(f"{arguments}, needs at least 1, and a number in (0, 1)")
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
    """Mean of values - baseline on the same rows, with its bootstrap interval.

    Pairing cancels the difficulty of a row that both share, so it detects smaller differences than
    two separate intervals. Arguments and errors are those of `bootstrap_interval`; `baseline` is
    (rows,).

    >>> paired_bootstrap_difference([0.0, 1.0, 2.0], [-1.0, 0.0, 1.0], seed=0)
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    value_rows, baseline_rows = (
        _checks.vector("values", values),
        _checks.vector("baseline", baseline),
    )
    _checks.same_shape(values=value_rows, baseline=baseline_rows)
    return bootstrap_interval(
        value_rows - baseline_rows, groups, seed=seed, resamples=resamples, level=level
    )


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation; tied values get the mean of their ranks.

    Args:
        first: (n,), at least 2 values.
        second: (n,), values paired with `first`.

    Returns:
        Correlation in [-1, 1]; 0 if one argument is constant.

    Raises:
        ValueError: Lengths differ, or there are fewer than 2 values.

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
    """Convert preference probabilities into predicted labels, to measure calibration on.

    In preference data the chosen response always wins, so the outcome given p is always 1.
    Calibration therefore compares the probability of the predicted label with its correctness.

    Args:
        p_chosen: (pairs,), the model's P(chosen > rejected).

    Raises:
        ValueError: There are no pairs, or a number is not a probability.

    >>> pairs = confidence_and_correctness([0.75, 0.25, 0.5])
    >>> pairs.confidence.tolist(), pairs.correct.tolist()
    ([0.75, 0.75, 0.5], [1.0, 0.0, 0.5])
    """
    p = _checks.probabilities("p_chosen", p_chosen)
    return ConfidenceOutcome(np.maximum(p, 1.0 - p), (np.sign(p - 0.5) + 1.0) / 2.0)


def reliability_curve(
    p: ArrayLike, outcome: ArrayLike, bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """Mean outcome against mean probability, in bins with equal numbers of rows.

    Equal probabilities share a bin, so the curve does not depend on the order of rows. Empty bins
    are omitted. Bins of equal mass follow Nguyen and O'Connor 2015 (arXiv 1508.05154).

    Args:
        p: (rows,), predicted probabilities.
        outcome: (rows,), outcomes in [0, 1]; for preferences see `confidence_and_correctness`.
        bins: Number of bins, at least 1.

    Returns:
        At most `bins` bins, lowest probabilities first; their `pairs` sum to the number of rows.

    Raises:
        ValueError: There are no rows, lengths differ, a number lies outside [0, 1], or bins <
            1.

    >>> reliability_curve([0.25, 0.75, 0.75], [0.0, 1.0, 0.0], bins=2)[1]
    ReliabilityBin(p_low=0.75, p_high=0.75, p_mean=0.75, accuracy=0.5, pairs=2)
    """
    predicted = _checks.probabilities("p", p)
    outcomes = _checks.probabilities("outcome", outcome)
    _checks.same_shape(p=predicted, outcome=outcomes)
    return tuple(
        ReliabilityBin(
            p_low=float(predicted[rows].min()),
            p_high=float(predicted[rows].max()),
            p_mean=float(predicted[rows].mean()),
            accuracy=float(outcomes[rows].mean()),
            pairs=len(rows),
        )
        for rows in _equal_mass(predicted, bins)
    )


def expected_calibration_error(p: ArrayLike, outcome: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error over the bins of `reliability_curve`.

    It is the sum over bins of pairs / rows * |accuracy - p_mean| (Guo et al. 2017, arXiv
    1706.04599, Eq. 3), here with bins of equal mass.

    Args:
        p: (rows,), predicted probabilities.
        outcome: (rows,), outcomes in [0, 1]; for preferences see `confidence_and_correctness`.
        bins: Number of bins, at least 1.

    Raises:
        ValueError: `reliability_curve` refuses the arguments.

    >>> expected_calibration_error([0.25, 0.25, 0.75, 0.75], [0.0, 0.0, 1.0, 0.0], bins=2)
    0.25
    """
    curve = reliability_curve(p, outcome, bins)
    rows = sum(point.pairs for point in curve)
    return sum(point.pairs / rows * abs(point.accuracy - point.p_mean) for point in curve)


def brier(p: ArrayLike, outcome: ArrayLike) -> float:
    """Mean squared error of probabilities (Brier 1950).

    Args:
        p: (rows,), predicted probabilities.
        outcome: (rows,), outcomes in [0, 1]; all 1 if `p` is P(chosen > rejected).

    Raises:
        ValueError: There are no rows, lengths differ, or a number lies outside [0, 1].

    >>> brier([0.5, 1.0], [1.0, 1.0])
    0.125
    """
    predicted = _checks.probabilities("p", p)
    outcomes = _checks.probabilities("outcome", outcome)
    _checks.same_shape(p=predicted, outcome=outcomes)
    return float(np.square(predicted - outcomes).mean())


def length_diagnostics(
    len_chosen: ArrayLike, len_rejected: ArrayLike, margin: ArrayLike, bins: int = 5
) -> LengthDiagnostics:
    """Measure the length bias of a model, next to two baselines that use only the length.

    Args:
        len_chosen: (pairs,), lengths of chosen in any unit, such as words or tokens.
        len_rejected: (pairs,), lengths of rejected in the same unit.
        margin: (pairs,), the model's logits of chosen over rejected.
        bins: Number of bins of equal mass over the length difference; equal differences share a
            bin.

    Raises:
        ValueError: There are no pairs, lengths differ, a number is not finite, or bins < 1.

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
        description = f"{array.dtype} {array.shape} with {np.count_nonzero(array)} rows marked"
        raise ValueError(f"mask is {description}, needs bool {shape} with at least one")
    return array


def _group_sums(rows: FloatArray, groups: ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """Return the sum and the number of rows of each group, both (groups,)."""
    if groups is None:
        return rows, np.ones_like(rows)
    labels = np.asarray(groups)
    if labels.shape != rows.shape:
        raise ValueError(f"groups have shape {labels.shape}, needs {rows.shape}")
    _, index = np.unique(labels, return_inverse=True)
    sums = np.bincount(index, weights=rows).astype(np.float64)
    return sums, np.bincount(index).astype(np.float64)


def _equal_mass(values: FloatArray, bins: int) -> list[NDArray[np.intp]]:
    """Split rows by value into at most `bins` bins of about equal size; ties share a bin."""
    if bins < 1:
        raise ValueError(f"bins is {bins}, needs at least 1")
    # Equal values occupy the ranks [first, last) in sorted order; all get the middle rank.
    ordered = np.sort(values)
    first, last = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    index = (first + last) * bins // (2 * len(values))
    return [np.flatnonzero(index == bin_index) for bin_index in np.unique(index)]


def _pearson(x: FloatArray, y: FloatArray) -> float | None:
    """Return Pearson's correlation, or None if x or y is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    # Scaled by the range first, so that tiny or huge values neither underflow nor overflow.
    dx, dy = ((z - z.mean()) / np.ptp(z) for z in (x, y))
    return float(np.clip((dx @ dy) / math.sqrt((dx @ dx) * (dy @ dy)), -1.0, 1.0))


def _accuracy_or_none(margin: FloatArray, mask: NDArray[np.bool_]) -> float | None:
    return accuracy(margin, mask) if mask.any() else None
