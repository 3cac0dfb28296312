from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.overoptimisation import GaoFit, GaoForm, empirical_peak, fit_overoptimisation

coefficients = st.floats(-5, 5, allow_nan=False).map(lambda value: round(value, 3))
FORMS: tuple[GaoForm, ...] = ("best_of_n", "rl")


def curve(alpha: float, beta: float, form: GaoForm) -> GaoFit:
    return GaoFit(alpha, beta, form, 0.0, 3, 0)


@given(coefficients, coefficients, st.sampled_from(FORMS), st.data())
def test_points_on_a_curve_give_its_parameters_back(alpha, beta, form, data) -> None:
    steps = st.lists(st.integers(1, 60), min_size=3, max_size=8, unique=True)
    d = [step / 8 for step in data.draw(steps)]
    weights = data.draw(st.lists(st.floats(0.1, 10), min_size=len(d), max_size=len(d)))
    fit = fit_overoptimisation(d, curve(alpha, beta, form).predict(d), form, weights)
    assert fit.alpha == pytest.approx(alpha, abs=1e-7)
    assert fit.beta == pytest.approx(beta, abs=1e-7)
    assert fit.residual_std == pytest.approx(0, abs=1e-6)
    assert (fit.points, fit.dropped) == (len(d), 0)


def test_best_of_n_residuals_are_those_of_the_normal_equations() -> None:
    # Columns d = (1, 2, 3) and -d^2 = (-1, -4, -9), R = (1, 0, 0). A'A = [[14, -36], [-36, 98]],
    # A'R = (1, -1), determinant 76: alpha = (98 - 36) / 76, beta = (36 - 14) / 76.
    fit = fit_overoptimisation([1, 2, 3], [1, 0, 0], "best_of_n")
    assert fit.alpha == pytest.approx(62 / 76)
    assert fit.beta == pytest.approx(22 / 76)
    # Fitted (40, 36, -12) / 76, residuals (36, -36, 12) / 76, one degree of freedom.
    assert fit.residual_std == pytest.approx(math.sqrt(36**2 + 36**2 + 12**2) / 76)


def test_rl_fits_against_the_logarithm_of_d() -> None:
    # d = (1, e, e^2) and log d = (0, 1, 2); R / d = (3, 2, 1) is the line 3 - log d.
    e = math.e
    fit = fit_overoptimisation([1, e, e**2], [3, 2 * e, e**2], "rl")
    assert (fit.alpha, fit.beta) == (pytest.approx(3), pytest.approx(1))
    assert fit.peak() == pytest.approx(e**2)  # exp(3 - 1)
    assert fit.predict([0.0, e]).tolist() == pytest.approx([0, 2 * e])


def test_a_weight_of_two_is_a_row_twice() -> None:
    d, gain = [1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 1.0, -1.0]
    for form in FORMS:
        weighted = fit_overoptimisation(d, gain, form, [1, 2, 1, 1])
        repeated = fit_overoptimisation([*d, 2.0], [*gain, 0.0], form)
        assert weighted.alpha == pytest.approx(repeated.alpha)
        assert weighted.beta == pytest.approx(repeated.beta)


def test_only_the_ratios_of_weights_matter() -> None:
    d, gain, weights = [1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 1.0, -1.0], np.array([1.0, 2.0, 3.0, 4.0])
    one = fit_overoptimisation(d, gain, "rl", weights)
    many = fit_overoptimisation(d, gain, "rl", 1000 * weights)
    assert one.residual_std == pytest.approx(many.residual_std)
    assert one.alpha == pytest.approx(many.alpha)


def test_rows_that_have_not_moved_are_dropped_and_counted() -> None:
    d, gain = [0.0, 1.0, 2.0, 3.0, -0.5], [7.0, 2.0, 2.0, 0.0, 9.0]
    fit = fit_overoptimisation(d, gain, "best_of_n", [5, 1, 1, 1, 5])
    assert (fit.points, fit.dropped) == (3, 2)
    assert (fit.alpha, fit.beta) == (pytest.approx(3), pytest.approx(1))


@given(st.floats(0.05, 5), st.floats(0.05, 5), st.sampled_from(FORMS))
def test_no_neighbour_of_the_peak_is_higher(alpha, beta, form) -> None:
    fit = curve(alpha, beta, form)
    peak = fit.peak()
    if peak is None:  # exp(alpha / beta - 1) is too large for a float: needs alpha > 700 beta
        pytest.fail("within these bounds every curve has a peak")
    below, top, above = fit.predict([peak * 0.99, peak, peak * 1.01])
    assert top > below
    assert top > above


@pytest.mark.parametrize(
    ("alpha", "beta", "form", "peak"),
    [
        (4.0, 2.0, "best_of_n", 1.0),
        (4.0, 0.0, "best_of_n", None),
        (4.0, -1.0, "best_of_n", None),
        (-1.0, 2.0, "best_of_n", None),  # falls from the start
        (2.0, 2.0, "rl", 1.0),
        (-2.0, 2.0, "rl", math.exp(-2)),  # rises a little before it falls
        (2.0, 0.0, "rl", None),
        (2.0, -1.0, "rl", None),
        (2000.0, 1.0, "rl", None),  # e^1999
    ],
)
def test_peaks_by_hand(alpha, beta, form, peak) -> None:
    assert curve(alpha, beta, form).peak() == (None if peak is None else pytest.approx(peak))


def test_a_peak_beyond_what_was_measured_is_none() -> None:
    fit = curve(4.0, 1.0, "best_of_n")  # peak at 2
    assert (fit.peak(d_max=2.0), fit.peak(d_max=1.9)) == (2.0, None)


def test_the_largest_measured_value_is_the_peak_and_ties_go_to_the_smallest_d() -> None:
    peak = empirical_peak([3.0, 2.0, 1.0, 4.0], [5.0, 5.0, 1.0, 4.0])
    assert (peak.d, peak.value, peak.index, peak.interior) == (2.0, 5.0, 1, True)


@pytest.mark.parametrize("value", [[0.0, 1.0, 2.0], [0.0, 2.0, 2.0]])
def test_a_curve_that_has_not_fallen_has_no_interior_peak(value) -> None:
    assert not empirical_peak([0.0, 1.0, 2.0], value).interior


@pytest.mark.parametrize(
    ("d", "gain", "form", "weights", "message"),
    [
        ([1, 2], [1, 2], "rl", None, "d has 2 rows above 0 of 2, needs at least 3"),
        ([0, 1, 2], [0, 1, 2], "best_of_n", None, "d has 2 rows above 0 of 3"),
        ([2, 2, 2], [0, 1, 2], "rl", None, "d is 2 in every row above 0"),
        ([1, 2, np.nan], [0, 1, 2], "rl", None, "d has 1 values that are NaN"),
        ([1, 2, 3], [0, 1, np.inf], "rl", None, "gain has 1 values that are NaN"),
        ([1, 2, 3], [0, 1], "rl", None, "shapes differ"),
        ([1, 2, 3], [0, 1, 2], "rl", [1, 0, 1], "weights has a row of 0"),
        ([1, 2, 3], [0, 1, 2], "log", None, "form is 'log', needs one of best_of_n, rl"),
    ],
)
def test_unfit_points_are_refused(d, gain, form, weights, message) -> None:
    with pytest.raises(ValueError, match=message):
        fit_overoptimisation(d, gain, form, weights)


def test_a_negative_d_has_no_prediction() -> None:
    with pytest.raises(ValueError, match="d has a row of -1, needs numbers >= 0"):
        curve(1.0, 1.0, "rl").predict([1.0, -1.0])
