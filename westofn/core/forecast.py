"""Forecast the gains from West-of-N, from the covariance prior and from twice the labels.

The forecast uses frozen features and trains no network. It assumes a linear reward with the prior
w ~ N(0, s·Σ_π^p), where p and s are unknown. The human pairs give a posterior over w, p and s
(Laplace approximation). The students are fitted as in docs/theory.md, on the available human pairs
and on simulated West-of-N pairs. The latter are drawn from a Gaussian with the covariance of the
policy's samples, so no pool of N responses is needed. Each posterior draw of w serves once as the
true reward by which every student is measured. The intervals are quantiles over these draws: they
show the uncertainty from the limited labels, not the variation between training runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from westofn.core.calibration import calibrated_losses
from westofn.core.forecast_terms import METRICS, OPTIONS, PRIOR, TWICE, Option
from westofn.core.kappa import RESAMPLES, Kappa, measure_kappa
from westofn.core.linear_reward import (
    PENALTIES,
    POWERS,
    LinearReward,
    balanced_shares,
    fit_by_validation,
    fit_logistic,
    logistic_curvature,
    prior_roots,
    within_pool_covariance,
)

DRAWS = 200
REPLICATES = 8
PROMPTS = 200  # simulated pools a student learns from; a larger number only reduces noise
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True)
class Gain:
    """Posterior mean and central 95 % interval of a metric or of a difference between metrics."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """Forecast levels and gains.

    Attributes:
        kappa: κ, κ_H and their ratio; None if the labels are too few or too noisy to estimate them.
        powers: Power p of the prior -> posterior probability.
        teacher: Metric -> level of the teacher fitted on the available labels. Accuracies are in
            percent. The gold reward is in standard deviations of its linear part over the policy's
            samples. The model ignores the part of gold that the features cannot express, so levels
            are too high; use the gains.
        gains: Arm -> metric -> difference from the teacher.
    """

    kappa: Kappa | None
    powers: Mapping[float, float]
    teacher: Mapping[str, Gain]
    gains: Mapping[str, Mapping[str, Gain]]


def forecast(
    labeled: Tensor,
    validation: Tensor,
    pools: Tensor,
    *,
    seed: int,
    options: Sequence[Option] = OPTIONS,
    best_of: int = 64,
    draws: int = DRAWS,
    resamples: int = RESAMPLES,
) -> Forecast:
    """Forecast the gains of every option, of the covariance prior, and of twice the labels.

    Args:
        labeled: (n, width), scaled features of the human training pairs D_L, chosen minus rejected.
        validation: (v, width), the same for the human pairs that choose penalties.
        pools: (prompts, K, width), scaled features of random samples of the policy, K ≥ 2.
        seed: Seed of all random draws.
        options: Ways to make synthetic pairs.
        best_of: Number of candidates n in the forecast of best-of-n.
        draws: Number of draws of w from the posterior.
        resamples: Number of bootstrap samples of the pairs for the intervals of κ.

    Raises:
        ValueError: There are fewer than 4 labelled pairs, no validation pair, or pools of one
            candidate.
    """
    covariance = within_pool_covariance(pools)
    roots = prior_roots(covariance, POWERS)
    teacher = fit_by_validation(labeled, validation)
    generator = torch.Generator().manual_seed(seed)
    human_pairs = torch.cat([labeled, validation]).double()
    posterior = _Posterior.fit(human_pairs, roots)
    true_weights = posterior.draw(draws, generator)
    evaluator = _Evaluator(true_weights, covariance, human_pairs, best_of)
    level = evaluator.metrics(teacher.weights)
    arms: dict[str, Mapping[str, Tensor]] = {}
    for option in options:
        arms[option.name] = _mean_of(
            [
                evaluator.metrics(
                    _student(labeled, validation, teacher, covariance, option, generator)
                )
                for _ in range(max(2, REPLICATES // option.pairs_a_prompt))
            ]
        )
    by_prior = fit_by_validation(labeled, validation, roots=roots)
    arms[PRIOR] = evaluator.metrics(by_prior.weights)
    arms[TWICE] = evaluator.metrics(
        _fit_twice_the_labels(labeled, validation, human_pairs, teacher, true_weights, generator)
    )
    return Forecast(
        kappa=measure_kappa(human_pairs, pools, teacher.penalty, seed=seed, resamples=resamples),
        powers=posterior.power_probabilities,
        teacher={key: _gain(level[key]) for key in METRICS},
        gains={
            name: {key: _gain(values[key] - level[key]) for key in METRICS}
            for name, values in arms.items()
        },
    )


@dataclass(frozen=True)
class _Posterior:
    """Laplace approximation of the posterior of w for every power and penalty.

    Attributes:
        log_evidence: (powers, penalties), log marginal likelihood up to a constant.
        modes: (powers, penalties, width), posterior modes in whitened coordinates u, where w = R u.
        curvatures: (powers, penalties, width, width), Hessians of −log posterior at the modes.
        roots: Power p -> root R of the prior's covariance.
    """

    log_evidence: Tensor
    modes: Tensor
    curvatures: Tensor
    roots: Mapping[float, Tensor]

    @classmethod
    def fit(cls, differences: Tensor, roots: Mapping[float, Tensor]) -> _Posterior:
        pairs, width = differences.shape
        lams = torch.tensor(PENALTIES, dtype=torch.float64)
        evidence, modes, curvatures = [], [], []
        shares = torch.ones(len(lams), pairs, dtype=torch.float64)
        for root in roots.values():
            x = differences @ root
            mode = fit_logistic(x, shares, lams)
            hessian = logistic_curvature(x, mode) + lams[:, None, None] * torch.eye(
                width, dtype=torch.float64
            )
            loss = torch.nn.functional.softplus(-(mode @ x.T)).mean(1)
            energy = pairs * (loss + lams * mode.square().sum(1) / 2)
            evidence.append(-energy + width / 2 * lams.log() - torch.logdet(hessian) / 2)
            modes.append(mode)
            curvatures.append(pairs * hessian)
        return cls(torch.stack(evidence), torch.stack(modes), torch.stack(curvatures), roots)

    @property
    def power_probabilities(self) -> dict[float, float]:
        """Posterior probability of every power; the prior over powers and penalties is uniform."""
        shares = torch.softmax(self.log_evidence.flatten(), 0).view_as(self.log_evidence).sum(1)
        return dict(zip(self.roots, shares.tolist(), strict=True))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw weights w from the posterior, (count, width)."""
        shares = torch.softmax(self.log_evidence.flatten(), 0)
        cells = torch.multinomial(shares, count, replacement=True, generator=generator)
        width = self.modes.shape[-1]
        noise = torch.randn(count, width, 1, generator=generator, dtype=torch.float64)
        modes = self.modes.reshape(-1, width)[cells]
        factors = torch.linalg.cholesky(self.curvatures.reshape(-1, width, width)[cells])
        u = modes + torch.linalg.solve_triangular(factors.mT, noise, upper=True).squeeze(-1)
        roots = torch.stack(list(self.roots.values()))[cells // self.modes.shape[1]]
        weights: Tensor = (roots @ u[:, :, None]).squeeze(-1)
        return weights


@dataclass(frozen=True)
class _Evaluator:
    """Measures a reward's metrics with each posterior draw of w as the true reward.

    Attributes:
        true_weights: (draws, width), draws of w.
        covariance: (width, width), Σ_π.
        pairs: (pairs, width), feature differences of human pairs for held-out accuracy.
        best_of: Number of candidates n of best-of-n.
    """

    true_weights: Tensor
    covariance: Tensor
    pairs: Tensor
    best_of: int

    def metrics(self, weights: Tensor) -> dict[str, Tensor]:
        """Metric -> values (draws,), for one reward (width,) or one per draw (draws, width)."""
        v = weights.expand_as(self.true_weights)
        rho = correlation(v, self.true_weights, self.covariance)
        return {
            "accuracy": 100 * self._held_out(v),
            "on_policy_accuracy": 100 * on_policy_accuracy(rho),
            "best_of_n_gold": expected_maximum(self.best_of) * rho,
        }

    def _held_out(self, v: Tensor) -> Tensor:
        """Probability that a label drawn with w agrees with the sign of v's margin."""
        side = torch.sign(v @ self.pairs.T)
        return torch.sigmoid(side * (self.true_weights @ self.pairs.T)).mean(1)


def correlation(first: Tensor, second: Tensor, covariance: Tensor) -> Tensor:
    """Correlation (…,) of two linear rewards (…, width) over texts; 0 if a reward is constant.

    Args:
        first: (…, width), weights of one reward.
        second: (…, width), weights of the other reward.
        covariance: (width, width), covariance of the texts' features.
    """
    covariances = ((first @ covariance) * second).sum(-1)
    variances = ((first @ covariance) * first).sum(-1) * ((second @ covariance) * second).sum(-1)
    return (covariances / variances.clamp_min(1e-300).sqrt()).clamp(-1, 1)


def on_policy_accuracy(rho: Tensor) -> Tensor:
    """Probability that two Gaussian rewards with correlation ρ order a pair alike.

    It is 1 − arccos(ρ)/π (Sheppard).

    >>> on_policy_accuracy(torch.tensor([0.0, 1.0])).tolist()
    [0.5, 1.0]
    """
    return 1 - torch.arccos(rho) / math.pi


def expected_maximum(n: int, points: int = 2000) -> float:
    """Expected maximum m_n of n standard normal variables.

    >>> round(expected_maximum(2), 3), round(expected_maximum(64), 2)  # the first is 1/√π
    (0.564, 2.34)
    """
    return float(_maxima(n, points).mean())


def _maxima(n: int, points: int) -> Tensor:
    """Equally likely values of the maximum of n standard normals: Φ⁻¹(u^(1/n))."""
    quantiles = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    maxima: Tensor = torch.special.ndtri(quantiles ** (1 / n))
    return maxima


def gaussian_west_pairs(
    weights: Tensor,
    covariance: Tensor,
    option: Option,
    prompts: int,
    generator: torch.Generator,
) -> Tensor:
    """Simulate West-of-N pairs: feature differences of the best and worst of N Gaussian texts.

    Along Σŵ, the k best and worst texts have the order statistics of N normal variables. The
    component that is uncorrelated with the teacher's reward is independent of the teacher's choice
    (docs/theory.md).

    Args:
        weights: (width,), the teacher's weights ŵ, not 0.
        covariance: (width, width), Σ_π.
        option: Number of candidates N and number of pairs k for each prompt.
        prompts: Number of pools.
        generator: Source of the random draws.

    Returns:
        (prompts · k, width), best minus worst.
    """
    k = option.pairs_a_prompt
    width = len(weights)
    scores = torch.randn(prompts, option.n_candidates, generator=generator, dtype=torch.float64)
    ordered = scores.sort(1, descending=True).values
    reward_gaps = (ordered[:, :k] - ordered.flip(1)[:, :k]).reshape(-1, 1)
    variances, directions = torch.linalg.eigh(covariance)
    root = directions * variances.clamp_min(0).sqrt()
    noise = torch.randn(len(reward_gaps), width, generator=generator, dtype=torch.float64)
    residuals: Tensor = math.sqrt(2) * noise @ root.T  # of a difference of two texts
    direction = covariance @ weights
    variance = float(weights @ direction)
    if variance <= 0:
        return residuals
    residuals = residuals - (residuals @ weights)[:, None] * direction / variance
    differences: Tensor = residuals + reward_gaps * direction / math.sqrt(variance)
    return differences


def _student(
    labeled: Tensor,
    validation: Tensor,
    teacher: LinearReward,
    covariance: Tensor,
    option: Option,
    generator: torch.Generator,
) -> Tensor:
    synthetic = gaussian_west_pairs(teacher.weights, covariance, option, PROMPTS, generator)
    shares = balanced_shares(len(labeled), len(synthetic))
    training_pairs = torch.cat([labeled.double(), synthetic])
    return fit_by_validation(training_pairs, validation, shares=shares).weights


def _fit_twice_the_labels(
    labeled: Tensor,
    validation: Tensor,
    human_pairs: Tensor,
    teacher: LinearReward,
    true_weights: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Fit on the labelled pairs and on as many new pairs labelled by each draw of w.

    Returns weights (draws, width). The new pairs are resampled human pairs. With twice the pairs,
    the same prior needs a fraction of the teacher's penalty; validation pairs choose the fraction.
    """
    n, draws = len(labeled), len(true_weights)
    rows = torch.randint(len(human_pairs), (draws, n), generator=generator)
    label_agrees = torch.rand(draws, n, generator=generator, dtype=torch.float64) < torch.sigmoid(
        (true_weights @ human_pairs.T).gather(1, rows)
    )
    # All draws share these rows: the labelled pairs, then every human pair in both orders.
    both_orders = torch.cat([labeled.double(), human_pairs, -human_pairs])
    counts = torch.zeros(draws, len(both_orders), dtype=torch.float64)
    counts[:, :n] = 1
    row_indices = n + torch.where(label_agrees, rows, rows + len(human_pairs))
    counts.scatter_add_(1, row_indices, torch.ones(draws, n, dtype=torch.float64))
    fits = []
    for fraction in (1.0, 0.5, 0.25):
        penalties = torch.full((draws,), fraction * teacher.penalty, dtype=torch.float64)
        fits.append(fit_logistic(both_orders, counts, penalties))
    candidates = torch.stack(fits)
    losses = torch.stack([calibrated_losses(fit @ validation.double().T) for fit in candidates])
    return candidates[losses.argmin(0), torch.arange(draws)]


def _mean_of(measures: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {key: torch.stack([values[key] for values in measures]).mean(0) for key in METRICS}


def _gain(values: Tensor) -> Gain:
    low, high = torch.quantile(values, torch.tensor(QUANTILES, dtype=torch.float64)).tolist()
    return Gain(float(values.mean()), low, high)
