"""Curves of gold reward against optimisation of a proxy reward: fits and peaks.

Gao et al. 2022, "Scaling laws for reward model overoptimization" (arXiv 2210.10760, Eq. 1 and 2).
With d = sqrt(KL(pi || pi_0)), KL in nats, and R the gain in gold reward relative to d = 0,

    best-of-n    R(d) = d (alpha - beta d)
    RL           R(d) = d (alpha - beta log d)

R / d is linear in alpha and beta for both, so least squares has a closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from westofn.core import _checks
from westofn.core._checks import FloatArray

GaoForm = Literal["best_of_n", "rl"]

_MIN_POINTS = 3  # two parameters, and one degree of freedom for the residuals


@dataclass(frozen=True)
class GaoFit:
    """A fitted curve of gain in gold reward against d = sqrt(KL).

    Attributes:
        alpha: Gold reward per unit of d: the initial slope of a best-of-n curve, R(1) of an RL
            curve.
        beta: Strength of over-optimisation; the curve has no peak if beta <= 0.
        form: Form of the curve.
        residual_std: Weighted standard deviation of the residuals with `points` - 2 degrees of
            freedom, in units of gold reward.
        points: Number of fitted rows.
        dropped: Number of rows with d <= 0. They carry no information: both forms are 0 at d = 0.
    """

    alpha: float
    beta: float
    form: GaoForm
    residual_std: float
    points: int
    dropped: int

    def predict(self, d: ArrayLike) -> FloatArray:
        """Fitted gain in gold reward relative to d = 0.

        Args:
            d: (rows,), square roots of KL, at least 0.

        Returns:
            float64 (rows,), gain in gold reward; 0 at d = 0.

        Raises:
            ValueError: There are no rows, a number is not finite, or a d is negative.

        >>> GaoFit(3.0, 1.0, "best_of_n", 0.0, 3, 0).predict([0.0, 1.0, 2.0]).tolist()
        [0.0, 2.0, 2.0]
        """
        distances = _checks.vector("d", d)
        if distances.min() < 0:
            raise ValueError(f"d has a row of {distances.min():g}, needs numbers >= 0")
        gain = np.zeros_like(distances)
        positive = distances > 0
        slope = self.alpha - self.beta * _bend(distances[positive], self.form)
        gain[positive] = distances[positive] * slope
        return gain

    def peak(self, d_max: float | None = None) -> float | None:
        """Return the d > 0 with the largest fitted gain.

        It is alpha / 2 beta for best-of-n and exp(alpha / beta - 1) for RL.

        Args:
            d_max: Largest d to accept, such as the largest measured d; None: no limit.

        Returns:
            d, or None if the curve has no peak (beta <= 0, or a best-of-n curve with alpha <=
            0) or the peak lies beyond `d_max` or the range of floats.

        >>> GaoFit(3.0, 1.0, "best_of_n", 0.0, 3, 0).peak()
        1.5
        >>> GaoFit(1.0, 1.0, "rl", 0.0, 3, 0).peak(), GaoFit(1.0, 0.0, "rl", 0.0, 3, 0).peak()
        (1.0, None)
        """
        if self.beta <= 0 or (self.form == "best_of_n" and self.alpha <= 0):
            return None
        if self.form == "best_of_n":
            d = self.alpha / (2.0 * self.beta)
        else:
            with np.errstate(over="ignore", under="ignore"):
                d = float(np.exp(self.alpha / self.beta - 1.0))
        if not 0 < d < math.inf or (d_max is not None and d > d_max):
            return None
        return d


@dataclass(frozen=True)
class EmpiricalPeak:
    """The measured point with the largest value.

    Attributes:
        d: sqrt(KL) of the point.
        value: Measured value at the point.
        index: Row of the point.
        interior: Whether a point with larger d has a smaller value, so that a decline was measured.
            False if the best point has the largest d; the curve may still rise.
    """

    d: float
    value: float
    index: int
    interior: bool


def fit_overoptimisation(
    d: ArrayLike, gain: ArrayLike, form: GaoForm, weights: ArrayLike | None = None
) -> GaoFit:
    """Fit alpha and beta by (weighted) least squares on the gain.

    It minimises sum_i w_i (R_i - d_i (alpha - beta f(d_i)))^2 with f(d) = d or log d, which is the
    regression of R / d on f(d) with weights w d^2.

    Args:
        d: (rows,), square roots of KL in nats; rows with d <= 0 are dropped and counted.
        gain: (rows,), gold reward minus the gold reward at d = 0.
        form: "best_of_n" or "rl".
        weights: (rows,), positive weights such as 1 / variance of each point; only their ratios
            matter. None: equal weights.

    Raises:
        ValueError: The form is unknown, lengths differ, a number is not finite, fewer than 3
            rows have d > 0, all of them have the same d, or a weight is not positive.

    >>> fit = fit_overoptimisation([0.0, 1.0, 2.0, 3.0], [0.0, 2.0, 2.0, 0.0], "best_of_n")
    >>> round(fit.alpha, 6), round(fit.beta, 6), round(fit.residual_std, 6), fit.dropped
    (3.0, 1.0, 0.0, 1)
    """
    if form not in get_args(GaoForm):
        raise ValueError(f"form is {form!r}, needs one of {', '.join(get_args(GaoForm))}")
    distances, gains = _checks.vector("d", d), _checks.vector("gain", gain)
    weight = np.ones_like(distances) if weights is None else _checks.vector("weights", weights)
    _checks.same_shape(d=distances, gain=gains, weights=weight)
    if weight.min() <= 0:
        raise ValueError(f"weights has a row of {weight.min():g}, needs numbers > 0")
    positive = distances > 0
    x, y, w = distances[positive], gains[positive], weight[positive]
    if len(x) < _MIN_POINTS:
        raise ValueError(
            f"d has {len(x)} rows above 0 of {len(distances)}, needs at least {_MIN_POINTS} to fit "
            "two parameters"
        )
    regressor = _bend(x, form)
    if regressor.min() == regressor.max():
        raise ValueError(f"d is {x[0]:g} in every row above 0, needs at least two different values")
    w = w / w.mean()
    alpha, beta = _line(regressor, y / x, w * x**2)
    residual = y - x * (alpha - beta * regressor)
    residual_std = math.sqrt(float(w @ residual**2) / (len(x) - 2))
    return GaoFit(alpha, beta, form, residual_std, len(x), len(distances) - len(x))


def empirical_peak(d: ArrayLike, value: ArrayLike) -> EmpiricalPeak:
    """Find the measured point with the largest value; ties go to the smallest d.

    The maximum of noisy values is biased upwards, so `value` overestimates the height of the curve.

    Args:
        d: (rows,), square roots of KL.
        value: (rows,), gold reward or gain in gold reward.

    Raises:
        ValueError: There are no rows, lengths differ, or a number is not finite.

    >>> empirical_peak([0.0, 1.0, 2.0], [0.0, 3.0, 1.0])
    EmpiricalPeak(d=1.0, value=3.0, index=1, interior=True)
    """
    distances, values = _checks.vector("d", d), _checks.vector("value", value)
    _checks.same_shape(d=distances, value=values)
    # Sorted by descending value, then by d; the last key of lexsort is the primary one.
    index = int(np.lexsort((distances, -values))[0])
    best, height = float(distances[index]), float(values[index])
    declines = bool((values[distances > best] < height).any())
    return EmpiricalPeak(best, height, index, declines)


def _bend(d: FloatArray, form: GaoForm) -> FloatArray:
    return d if form == "best_of_n" else np.log(d)


def _line(x: FloatArray, y: FloatArray, weight: FloatArray) -> tuple[float, float]:
    """Fit y = alpha - beta x by weighted least squares; return alpha and beta."""
    total = weight.sum()
    x_mean, y_mean = float(weight @ x / total), float(weight @ y / total)
    centred = x - x_mean
    beta = -float(weight @ (centred * (y - y_mean))) / float(weight @ centred**2)
    return y_mean + beta * x_mean, beta
