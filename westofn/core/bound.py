"""Measure the quantities of the paper's theorem (Pace et al. 2024, arXiv 2401.12086).

If |P_theta - P*| <= epsilon for all pairs, the label of the West-of-N pair is correct with
probability at least sup P* - 2 epsilon as N grows; sup P* is 1 if annotators agree on some pair of
the pool. For a finite pool, each pair satisfies P*(y+ > y-) >= P_theta(y+ > y-) - epsilon.
In the embedded world P* is known, so epsilon and both bounds can be computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from westofn.core import _checks
from westofn.core._checks import FloatArray


@dataclass(frozen=True)
class Epsilon:
    """Statistics of the gap |P_theta - P*| between model and annotators over a set of pairs.

    Attributes:
        sup: Largest gap; the theorem's epsilon.
        q99: 99 % quantile of the gap.
        q95: 95 % quantile.
        q90: 90 % quantile.
        median: Median gap.
        mean: Mean gap.
        pairs: Number of pairs measured.
    """

    sup: float
    q99: float
    q95: float
    q90: float
    median: float
    mean: float
    pairs: int


def epsilon(p_model: ArrayLike, p_true: ArrayLike) -> Epsilon:
    """Measure the gap between model and annotators on the same ordered pairs.

    Args:
        p_model: (pairs,), the model's probability P_theta(a > b).
        p_true: (pairs,), the annotators' probability P*(a > b).

    Raises:
        ValueError: There are no pairs, lengths differ, or a number is not a probability.

    >>> gap = epsilon([0.9, 0.5], [0.8, 0.5])
    >>> round(gap.sup, 6), round(gap.mean, 6), gap.pairs
    (0.1, 0.05, 2)
    """
    model, true = _checks.probabilities("p_model", p_model), _checks.probabilities("p_true", p_true)
    _checks.same_shape(p_model=model, p_true=true)
    gap = np.abs(model - true)
    q99, q95, q90, median = (float(q) for q in np.quantile(gap, [0.99, 0.95, 0.9, 0.5]))
    return Epsilon(float(gap.max()), q99, q95, q90, median, float(gap.mean()), gap.size)


def pair_bound(p_model: ArrayLike, epsilon: float) -> FloatArray:
    """Lower bound of P*(y+ > y-) for each pair: P_theta(y+ > y-) - epsilon, at least 0.

    Args:
        p_model: (pairs,), the model's probability P_theta(y+ > y-).
        epsilon: Gap in [0, 1], such as `Epsilon.sup`. If it is a quantile of the gaps, the bound
            holds for that share of the pairs.

    Returns:
        float64 (pairs,), lower bounds in [0, 1].

    Raises:
        ValueError: There are no pairs, or a number lies outside [0, 1].

    >>> pair_bound([0.75, 0.25], 0.5).tolist()
    [0.25, 0.0]
    """
    model = _checks.probabilities("p_model", p_model)
    return np.maximum(model - _checks.fraction("epsilon", epsilon), 0.0)
