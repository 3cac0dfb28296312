"""The paper's theorem, measured (Pace et al. 2024, arXiv 2401.12086).

If |P_theta - P*| <= epsilon everywhere, the West-of-N pair is labelled correctly with probability
at least sup P* - 2 epsilon as N grows, which is 1 - 2 epsilon where the pool holds a pair on which
annotators agree. Its finite form, for each pair, is P*(y+ > y-) >= P_theta(y+ > y-) - epsilon.
Where the annotators' P* is known (an embedded world), epsilon and both bounds can be computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from westofn.core import _checks
from westofn.core._checks import FloatArray


@dataclass(frozen=True)
class Epsilon:
    """How far the model's probabilities are from the annotators', |P_theta - P*|.

    Attributes:
        sup: Largest gap: the theorem's epsilon.
        q99: 99 % of the pairs have at most this gap.
        q95: 95 % of the pairs.
        q90: 90 % of the pairs.
        median: Half of the pairs.
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
    """Measures the gap between model and annotators on the same ordered pairs.

    Args:
        p_model: (pairs,), P_theta(a > b).
        p_true: (pairs,), P*(a > b).

    Raises:
        ValueError: No pairs, different lengths, or numbers that are not probabilities.

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
    """Bounds P*(y+ > y-) of each pair from below: P_theta(y+ > y-) - epsilon, at least 0.

    Args:
        p_model: (pairs,), P_theta(y+ > y-).
        epsilon: In [0, 1], such as `Epsilon.sup`; with a quantile of the gaps the bound holds for
            that share of the pairs.

    Returns:
        float64 (pairs,).

    Raises:
        ValueError: No pairs, or numbers outside [0, 1].

    >>> pair_bound([0.75, 0.25], 0.5).tolist()
    [0.25, 0.0]
    """
    model = _checks.probabilities("p_model", p_model)
    return np.maximum(model - _checks.fraction("epsilon", epsilon), 0.0)
