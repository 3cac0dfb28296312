"""The covariance prior of linear rewards: where it helps, where it hurts, and wide features."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from westofn.core import linear_reward
from westofn.core.linear_reward import (
    LinearReward,
    balanced_shares,
    directions_of,
    fit_by_validation,
    prior_roots,
    within_pool_covariance,
)

WIDTH, STRONG, LABELED, VALIDATION, DRAWS = 24, 3, 30, 200, 12


def directions(first: int, last: int) -> Tensor:
    """A unit vector that is even over these directions."""
    w = torch.zeros(WIDTH, dtype=torch.float64)
    w[first:last] = 1.0
    return w / w.norm()


def human_pairs(w: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Off-policy pairs (all directions alike), ordered by an annotator with reward 3·w·x."""
    x = torch.randn(count, WIDTH, dtype=torch.float64, generator=generator)
    right = torch.rand(count, dtype=torch.float64, generator=generator) < torch.sigmoid(3 * x @ w)
    return torch.where(right[:, None], x, -x)


def fits(w: Tensor) -> list[tuple[LinearReward, LinearReward, LinearReward]]:
    """Powers 0, 1 and by validation, where samples vary in the first STRONG directions alone."""
    found = []
    variances = torch.zeros(WIDTH)
    variances[:STRONG] = 1.0
    roots = prior_roots(torch.diag(variances), (0.0, 1.0))
    for draw in range(DRAWS):
        generator = torch.Generator().manual_seed(draw)
        x = human_pairs(w, LABELED, generator)
        validation = human_pairs(w, VALIDATION, generator)
        zero, one = (fit_by_validation(x, validation, roots={p: roots[p]}) for p in (0.0, 1.0))
        found.append((zero, one, fit_by_validation(x, validation, roots=roots)))
    return found


def cosine(w: Tensor, fitted: LinearReward) -> float:
    return float(torch.cosine_similarity(w, fitted.weights, dim=0))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_a_prior_helps_where_samples_vary_in_what_people_care_about() -> None:
    w = directions(0, STRONG)
    found = fits(w)
    # An error of variance e in each of d directions leaves a cosine of 1 / sqrt(1 + d·e). What is
    # left where 24 are free tells e; where 3 are, e is no larger, as fewer numbers are fitted.
    zero = mean([cosine(w, fit[0]) for fit in found])
    error = (zero**-2 - 1) / WIDTH
    one = mean([cosine(w, fit[1]) for fit in found])
    assert zero < 0.8
    assert one > (1 + STRONG * error) ** -0.5 > zero + 0.15
    assert [fit[2].power for fit in found] == [1.0] * DRAWS


def test_a_prior_hurts_where_they_do_not_and_validation_says_so() -> None:
    w = directions(STRONG, WIDTH)
    found = fits(w)
    assert mean([cosine(w, fit[1]) for fit in found]) < mean([cosine(w, fit[0]) for fit in found])
    # In the directions of the samples human pairs say nothing about w.
    assert mean([fit[1].validation_loss for fit in found]) == pytest.approx(math.log(2), abs=0.02)
    assert [fit[2].power for fit in found] == [0.0] * DRAWS
    assert all(torch.equal(fit[2].weights, fit[0].weights) for fit in found)


def test_power_zero_is_the_ridge_penalty() -> None:
    generator = torch.Generator().manual_seed(3)
    w = directions(0, WIDTH)
    x, validation = (human_pairs(w, count, generator) for count in (LABELED, VALIDATION))
    covariance = torch.diag(torch.arange(1.0, WIDTH + 1))
    ridge = fit_by_validation(x, validation)
    prior = fit_by_validation(x, validation, roots=prior_roots(covariance, [0.0]))
    assert torch.allclose(prior.weights, ridge.weights, atol=1e-9)
    # Where the derivative of the mean loss and λ|w|²/2 is zero.
    pull = (torch.sigmoid(-x @ ridge.weights)[:, None] * x).mean(0)
    assert torch.allclose(ridge.penalty * ridge.weights, pull, atol=1e-5)


def test_a_power_is_the_penalty_in_the_metric_of_the_covariance() -> None:
    generator = torch.Generator().manual_seed(4)
    w = directions(0, WIDTH)
    x, validation = (human_pairs(w, count, generator) for count in (LABELED, VALIDATION))
    variances = torch.linspace(0.5, 2.0, WIDTH, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(WIDTH, WIDTH, dtype=torch.float64))
    covariance = rotation @ torch.diag(variances) @ rotation.T
    fitted = fit_by_validation(x, validation, roots=prior_roots(covariance, [2.0]), penalties=[0.1])
    # λ wᵀ Σ^-2 w / 2 up to the factor that makes the mean variance of Σ² one.
    metric = rotation @ torch.diag((variances**2).mean() / variances**2) @ rotation.T
    pull = (torch.sigmoid(-x @ fitted.weights)[:, None] * x).mean(0)
    assert torch.allclose(0.1 * metric @ fitted.weights, pull, atol=1e-5)


def test_roots_are_those_of_each_power_alone() -> None:
    pools = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(0))
    covariance = within_pool_covariance(pools)
    for power, root in prior_roots(covariance, (0.0, 0.5, 1.0, 2.0)).items():
        assert torch.equal(root, prior_roots(covariance, [power])[power])
        assert float(torch.trace(root @ root.T)) == pytest.approx(6)
    root = prior_roots(covariance, [1.0])[1.0]
    assert torch.allclose(root @ root, covariance * 6 / torch.trace(covariance), atol=1e-6)


def test_no_variance_prefers_no_direction() -> None:
    with pytest.raises(ValueError, match="prefers no direction"):
        prior_roots(torch.zeros(3, 3), [1.0])


class TestWideFeatures:
    @pytest.fixture
    def data(self) -> tuple[Tensor, Tensor, Tensor]:
        """Few training pairs, validation pairs, and a prior's root."""
        generator = torch.Generator().manual_seed(5)
        w = directions(0, STRONG)
        x, validation = (human_pairs(w, count, generator) for count in (10, VALIDATION))
        spread = torch.linspace(0.1, 3.0, WIDTH, dtype=torch.float64)
        return x, validation, prior_roots(torch.diag(spread), [1.0])[1.0]

    @pytest.mark.parametrize("fraction", [None, 0.7])
    def test_as_many_pairs_as_directions_lose_nothing(
        self,
        fraction: float | None,
        data: tuple[Tensor, Tensor, Tensor],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        x, validation, root = data
        shares = None if fraction is None else balanced_shares(4, 6, fraction)
        whole = fit_by_validation(x, validation, shares=shares, roots={1.0: root})
        monkeypatch.setattr(linear_reward, "MOST_DIRECTIONS", len(x))
        asked = []
        original = linear_reward.fit_logistic

        def spied(differences: Tensor, *rest: Tensor) -> Tensor:
            asked.append(differences.shape[1])
            return original(differences, *rest)

        monkeypatch.setattr(linear_reward, "fit_logistic", spied)
        small = fit_by_validation(x, validation, shares=shares, roots={1.0: root})
        assert asked == [10]  # of 24
        assert small.penalty == whole.penalty
        assert torch.allclose(small.weights, whole.weights, atol=1e-6)

    def test_features_within_the_limit_are_not_touched(
        self, data: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        x, validation, root = data
        whole = fit_by_validation(x, validation, roots={1.0: root})
        monkeypatch.setattr(linear_reward, "MOST_DIRECTIONS", WIDTH)
        monkeypatch.setattr(linear_reward, "directions_of", None)
        again = fit_by_validation(x, validation, roots={1.0: root})
        assert torch.equal(again.weights, whole.weights)

    @pytest.mark.parametrize("count", [12, 40])
    def test_of_more_rows_the_strongest_directions_stay(self, count: int) -> None:
        generator = torch.Generator().manual_seed(6)
        rows = torch.randn(count, WIDTH, dtype=torch.float64, generator=generator)
        rows[:, 5:] *= 1e-3
        kept = directions_of(rows, 5)
        assert torch.allclose(kept.T @ kept, torch.eye(5, dtype=torch.float64), atol=1e-9)
        assert torch.allclose(kept @ (kept.T @ rows.T), rows.T, atol=0.02)
        assert float((kept[5:]).abs().max()) < 0.02
