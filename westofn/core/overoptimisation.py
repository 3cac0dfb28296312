"""How gold reward rises and falls as a proxy is optimised: the fitted forms, and where they peak.

Gao et al. 2022, "Scaling laws for reward model overoptimization" (arXiv 2210.10760, Eq. 1 and 2).
With d = sqrt(KL(pi || pi_0)), KL in nats, and R the gain in gold reward over d = 0,

    best-of-n    R(d) = d (alpha - beta d)
    RL           R(d) = d (alpha - beta log d)

Both are lines in alpha and beta once divided by d, so least squares has a closed form.
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
        alpha: Initial slope of a best-of-n curve; of an RL curve the slope of the chord at d = 1.
            Gold reward a unit of d.
        beta: How fast over-optimisation sets in; at or below 0 it does not.
        form: Which of the two forms.
        residual_std: Square root of the weighted mean squared residual, with `points` - 2 degrees
            of freedom; in units of gold reward.
        points: Rows that were fitted.
        dropped: Rows with d <= 0, which say nothing: both forms are 0 there.
    """

    alpha: float
    beta: float
    form: GaoForm
    residual_std: float
    points: int
    dropped: int

    def predict(self, d: ArrayLike) -> FloatArray:
        """Fitted gain over d = 0.

        Args:
            d: (rows,), square roots of KL, at least 0.

        Returns:
            float64 (rows,), gold reward; 0 at d = 0.

        Raises:
            ValueError: No rows, numbers that are not finite, or a negative d.

        >>> GaoFit(3.0, 1.0, "best_of_n", 0.0, 3, 0).predict([0.0, 1.0, 2.0]).tolist()
        [0.0, 2.0, 2.0]
        """
        distances = _checks.vector("d", d)
        if distances.min() < 0:
            raise ValueError(f"d has a row of {distances.min():g}, needs numbers >= 0")
        gain = np.zeros_like(distances)
        moved = distances > 0
        slope = self.alpha - self.beta * _bend(distances[moved], self.form)
        gain[moved] = distances[moved] * slope
        return gain

    def peak(self, d_max: float | None = None) -> float | None:
        """The d > 0 of the largest fitted gain: alpha / 2 beta, or exp(alpha / beta - 1) for RL.

        Args:
            d_max: Largest d that counts, such as the largest that was measured; None is no limit.

        Returns:
            d, or None where the curve has no peak: beta <= 0, a best-of-n curve that only falls
            (alpha <= 0), or a peak beyond `d_max` (or beyond what a float holds).

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
    """The best of the measured points.

    Attributes:
        d: Where it was measured, sqrt(KL).
        value: What was measured there.
        index: Its row.
        interior: A measured point of larger d lies below it, so that the fall was seen; False when
            the best point is the one of largest d: the curve may rise on.
    """

    d: float
    value: float
    index: int
    interior: bool


def fit_overoptimisation(
    d: ArrayLike, gain: ArrayLike, form: GaoForm, weights: ArrayLike | None = None
) -> GaoFit:
    """Fits alpha and beta by (weighted) least squares of the gain.

    sum_i w_i (R_i - d_i (alpha - beta f(d_i)))^2 with f(d) = d or log d, which is the regression of
    R / d on f(d) with weights w d^2.

    Args:
        d: (rows,), square roots of KL in nats; rows with d <= 0 are dropped and counted.
        gain: (rows,), gold reward less that at d = 0.
        form: "best_of_n" or "rl".
        weights: (rows,), positive, such as 1 / variance of each point; only their ratios matter.
            None weighs all rows alike.

    Raises:
        ValueError: An unknown form; columns of different lengths; numbers that are not finite;
            fewer than 3 rows with d > 0, or all at one d; a weight that is not positive.

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
    moved = distances > 0
    x, y, w = distances[moved], gains[moved], weight[moved]
    if len(x) < _MIN_POINTS:
        raise ValueError(
            f"d has {len(x)} rows above 0 of {len(distances)}, needs at least {_MIN_POINTS} to fit "
            "two parameters"
        )
    bend = _bend(x, form)
    if bend.min() == bend.max():
        raise ValueError(f"d is {x[0]:g} in every row above 0, needs at least two different values")
    w = w / w.mean()
    alpha, beta = _line(bend, y / x, w * x**2)
    residual = y - x * (alpha - beta * bend)
    residual_std = math.sqrt(float(w @ residual**2) / (len(x) - 2))
    return GaoFit(alpha, beta, form, residual_std, len(x), len(distances) - len(x))


def empirical_peak(d: ArrayLike, value: ArrayLike) -> EmpiricalPeak:
    """Finds the measured point of the largest value; ties go to the smallest d.

    The largest of noisy points is biased upwards: read `value` as a place on the curve and not as
    an estimate of its height.

    Args:
        d: (rows,), square roots of KL.
        value: (rows,), gold reward or its gain.

    Raises:
        ValueError: No rows, different lengths, numbers that are not finite.

    >>> empirical_peak([0.0, 1.0, 2.0], [0.0, 3.0, 1.0])
    EmpiricalPeak(d=1.0, value=3.0, index=1, interior=True)
    """
    distances, values = _checks.vector("d", d), _checks.vector("value", value)
    _checks.same_shape(d=distances, value=values)
    # By value, largest first, then by d: the last key of lexsort leads.
    index = int(np.lexsort((distances, -values))[0])
    best, height = float(distances[index]), float(values[index])
    fell = bool((values[distances > best] < height).any())
    return EmpiricalPeak(best, height, index, fell)


def _bend(d: FloatArray, form: GaoForm) -> FloatArray:
    return d if form == "best_of_n" else np.log(d)


def _line(x: FloatArray, y: FloatArray, weight: FloatArray) -> tuple[float, float]:
    """Weighted least squares of y = alpha - beta x: alpha, beta."""
    total = weight.sum()
    x_mean, y_mean = float(weight @ x / total), float(weight @ y / total)
    centred = x - x_mean
    beta = -float(weight @ (centred * (y - y_mean))) / float(weight @ centred**2)
    return y_mean + beta * x_mean, beta
