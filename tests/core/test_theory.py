"""The claims of docs/theory.md, each by simulation or by solving its equation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from westofn.core.forecast import (
    correlation,
    expected_maximum,
    gaussian_west_pairs,
    on_policy_accuracy,
)
from westofn.core.forecast_terms import Option
from westofn.core.linear_reward import (
    extreme_differences,
    fit_logistic,
    prior_roots,
)

WIDTH = 5
VARIANCES = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.25], dtype=torch.float64)
TEACHER = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0], dtype=torch.float64)


def pools(prompts: int, n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(prompts, n, WIDTH, generator=generator, dtype=torch.float64)
    return noise * VARIANCES.sqrt() + torch.randn(prompts, 1, WIDTH, generator=generator)


def test_the_mean_west_pair_points_along_sigma_w():
    samples = pools(20000, 8)
    mean = extreme_differences(samples, samples @ TEACHER).mean(0)
    pull = VARIANCES * TEACHER
    expected = 2 * expected_maximum(8) * pull / math.sqrt(float(TEACHER @ pull))
    torch.testing.assert_close(mean, expected, atol=0.05, rtol=0.03)


def test_drawn_gaussian_pairs_have_the_moments_of_chosen_ones():
    samples = pools(20000, 8)
    chosen = extreme_differences(samples, samples @ TEACHER, 2)
    drawn = gaussian_west_pairs(
        TEACHER, torch.diag(VARIANCES), Option(8, 2), 20000, torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(drawn.mean(0), chosen.mean(0), atol=0.05, rtol=0.03)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(chosen.T), atol=0.12, rtol=0.05)


def test_a_student_of_gaussian_pairs_is_the_filtered_teacher():
    covariance, penalty = torch.diag(VARIANCES), 0.3
    pairs = gaussian_west_pairs(
        TEACHER, covariance, Option(2, 1), 200_000, torch.Generator().manual_seed(2)
    )
    student = fit_logistic(pairs, torch.ones(1, len(pairs)), torch.tensor([penalty]))[0]
    right = torch.sigmoid(pairs @ student)
    curvature = float((right * (1 - right)).mean())
    filtered = VARIANCES * TEACHER / (penalty + 2 * curvature * VARIANCES)
    cosine = student @ filtered / (student.norm() * filtered.norm())
    assert float(cosine) > 0.999
    # Neither end of the filter is as near: the teacher itself, nor one application of Σ.
    for other in (TEACHER, VARIANCES * TEACHER):
        assert float(student @ other / (student.norm() * other.norm())) < float(cosine) - 0.005


def test_under_strong_regularisation_the_prior_applies_sigma_to_the_ridge_fit():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(200, WIDTH, generator=generator, dtype=torch.float64)
    x = torch.where((x @ TEACHER)[:, None] > 0, x, -x)
    ones, strong = torch.ones(1, len(x)), torch.tensor([1e4])
    ridge = fit_logistic(x, ones, strong)[0]
    root = prior_roots(torch.diag(VARIANCES), [1.0])[1.0]
    with_prior = root @ fit_logistic(x @ root, ones, strong)[0]
    torch.testing.assert_close(
        with_prior / with_prior.norm(), _unit(VARIANCES * ridge), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize(
    ("signal", "error", "helps"),
    [
        ([1.0, 1.0, 0.1, 0.1, 0.1], [0.1, 0.1, 0.5, 0.9, 0.9], True),
        ([0.1, 0.1, 0.5, 0.9, 0.9], [1.0, 1.0, 0.1, 0.1, 0.1], False),
        ([0.5] * 5, [0.2, 0.2, 0.4, 0.8, 1.0], True),
    ],
)
def test_the_first_step_of_the_filter_helps_where_signal_varies_more_than_error(
    signal: list[float], error: list[float], helps: bool
):
    w, e = torch.tensor(signal, dtype=torch.float64), torch.tensor(error, dtype=torch.float64)

    def quality(step: float) -> float:
        # With an independent error, E[v·Σ·w] has w alone and E[v·Σ·v] has w² + e².
        f = 1 + step * VARIANCES
        along = (VARIANCES * f * w**2).sum()
        own = (VARIANCES * f**2 * (w**2 + e**2)).sum()
        return float(along**2 / own)

    def mean_variance(c: Tensor) -> float:
        return float((VARIANCES**2 * c**2).sum() / (VARIANCES * c**2).sum())

    assert (mean_variance(w) > mean_variance(e)) is helps
    assert (quality(1e-6) > quality(0.0)) is helps


def test_closed_forms_of_quality_agree_with_simulation():
    covariance = torch.diag(VARIANCES)
    truth = torch.tensor([1.0, 0.5, -0.5, 1.0, 0.0], dtype=torch.float64)
    rho = correlation(TEACHER, truth, covariance)
    samples = pools(40000, 8)
    score, gold = samples @ TEACHER, samples @ truth
    agree = ((score[:, 0] - score[:, 1]) * (gold[:, 0] - gold[:, 1]) > 0).double().mean()
    assert float(on_policy_accuracy(rho)) == pytest.approx(float(agree), abs=0.01)


def _unit(values: Tensor) -> Tensor:
    return values / values.norm()
