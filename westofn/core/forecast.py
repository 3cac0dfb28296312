"""Forecast: what West-of-N, the covariance prior and twice the labels would bring.

It needs frozen features and no training. The reward is taken as linear with the prior w ~ N(0,
s·Σ_π^p), where p and s are unknown. Human pairs give a posterior over w, p and s (the Laplace
approximation). The students are fitted as in docs/theory.md: on the human pairs one has, and on
West-of-N pairs that are drawn from the Gaussian with the covariance of the policy's samples, so
no pool of N responses is needed. Each draw of w from the posterior then says what every student
would be worth if w were the truth. The intervals are quantiles over these draws: they say how
much the labels leave open, not how much one training of a network differs from the next.
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
PROMPTS = 200  # whose West-of-N pairs a student learns from; more change the noise alone
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True)
class Gain:
    """A mean over the posterior and its central 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """What to expect.

    Attributes:
        kappa: κ, κ_H and their ratio; None where the labels are too few or noisy to tell.
        powers: Posterior probability of every power p of the prior.
        teacher: Metric -> level of the teacher on the labels one has. Accuracies are in percent;
            gold is in standard deviations, over the policy's samples, of what the features show
            of it. What they do not show, no linear reward can gain; so levels are too high, and
            differences are what counts.
        gains: Arm -> metric -> difference to the teacher.
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
        labeled: (n, width) scaled features of human pairs, chosen less rejected: D_L.
        validation: (v, width) of human pairs that choose penalties.
        pools: (prompts, K, width) scaled features of random samples of the policy, K ≥ 2.
        seed: Of all draws.
        options: Ways to make synthetic pairs.
        best_of: n of the best-of-n that is forecast.
        draws: Of w from the posterior.
        resamples: Bootstrap samples of the pairs for the intervals of κ.

    Raises:
        ValueError: Fewer than 4 labelled pairs, no validation pair, or pools of one candidate.
    """
    covariance = within_pool_covariance(pools)
    roots = prior_roots(covariance, POWERS)
    teacher = fit_by_validation(labeled, validation)
    generator = torch.Generator().manual_seed(seed)
    together = torch.cat([labeled, validation]).double()
    posterior = _Posterior.fit(together, roots)
    truths = posterior.draw(draws, generator)
    measure = _Measure(truths, covariance, together, best_of)
    level = measure.of(teacher.weights)
    arms: dict[str, Mapping[str, Tensor]] = {}
    for option in options:
        arms[option.name] = _mean_of(
            [
                measure.of(_student(labeled, validation, teacher, covariance, option, generator))
                for _ in range(max(2, REPLICATES // option.pairs_a_prompt))
            ]
        )
    by_prior = fit_by_validation(labeled, validation, roots=roots)
    arms[PRIOR] = measure.of(by_prior.weights)
    arms[TWICE] = measure.of(_twice(labeled, validation, together, teacher, truths, generator))
    return Forecast(
        kappa=measure_kappa(together, pools, teacher.penalty, seed=seed, resamples=resamples),
        powers=posterior.power_probabilities,
        teacher={key: _gain(level[key]) for key in METRICS},
        gains={
            name: {key: _gain(values[key] - level[key]) for key in METRICS}
            for name, values in arms.items()
        },
    )


@dataclass(frozen=True)
class _Posterior:
    """Laplace's approximation for every power and penalty, with their probabilities.

    Attributes:
        log_evidence: (powers, penalties) log marginal likelihood up to a constant.
        modes: (powers, penalties, width) in the whitened coordinates u of w = R u.
        curvatures: (powers, penalties, width, width) Hessians of −log posterior at the modes.
        roots: R of every power.
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
        """Every power's share of the posterior; powers and penalties are equally likely before."""
        shares = torch.softmax(self.log_evidence.flatten(), 0).view_as(self.log_evidence).sum(1)
        return dict(zip(self.roots, shares.tolist(), strict=True))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, width) draws of w."""
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
class _Measure:
    """What a reward is worth if each of the drawn w were true.

    Attributes:
        truths: (draws, width) w.
        covariance: Σ_π.
        pairs: (pairs, width) differences of human pairs for held-out accuracy.
        best_of: n of best-of-n.
    """

    truths: Tensor
    covariance: Tensor
    pairs: Tensor
    best_of: int

    def of(self, weights: Tensor) -> dict[str, Tensor]:
        """(draws,) of every metric, for one reward (width,) or one a draw (draws, width)."""
        v = weights.expand_as(self.truths)
        rho = correlation(v, self.truths, self.covariance)
        return {
            "accuracy": 100 * self._held_out(v),
            "on_policy_accuracy": 100 * on_policy_accuracy(rho),
            "best_of_n_gold": expected_maximum(self.best_of) * rho,
        }

    def _held_out(self, v: Tensor) -> Tensor:
        """How often a label drawn with w agrees with the sign of v's margin."""
        side = torch.sign(v @ self.pairs.T)
        return torch.sigmoid(side * (self.truths @ self.pairs.T)).mean(1)


def correlation(first: Tensor, second: Tensor, covariance: Tensor) -> Tensor:
    """Correlation of two linear rewards (…, width) over texts with a covariance, (…,); 0 for 0."""
    along = ((first @ covariance) * second).sum(-1)
    sizes = ((first @ covariance) * first).sum(-1) * ((second @ covariance) * second).sum(-1)
    return (along / sizes.clamp_min(1e-300).sqrt()).clamp(-1, 1)


def on_policy_accuracy(rho: Tensor) -> Tensor:
    """P(two Gaussian rewards of correlation ρ order a pair alike) = 1 − arccos(ρ)/π (Sheppard).

    >>> on_policy_accuracy(torch.tensor([0.0, 1.0])).tolist()
    [0.5, 1.0]
    """
    return 1 - torch.arccos(rho) / math.pi


def expected_maximum(n: int, points: int = 2000) -> float:
    """m_n: the expected largest of n standard normals.

    >>> round(expected_maximum(2), 3), round(expected_maximum(64), 2)  # the first is 1/√π
    (0.564, 2.34)
    """
    return float(_maxima(n, points).mean())


def _maxima(n: int, points: int) -> Tensor:
    """Equally likely values of the largest of n standard normals: Φ⁻¹(u^(1/n))."""
    middle = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    maxima: Tensor = torch.special.ndtri(middle ** (1 / n))
    return maxima


def gaussian_west_pairs(
    weights: Tensor,
    covariance: Tensor,
    option: Option,
    prompts: int,
    generator: torch.Generator,
) -> Tensor:
    """Best-minus-worst differences of pools of N Gaussian texts, chosen by a teacher.

    Along Σŵ the k best and worst are order statistics of N normals; the rest of each text is drawn
    from what the covariance leaves, which the teacher's choice does not touch (docs/theory.md).

    Args:
        weights: (width,) ŵ of the teacher, not 0.
        covariance: Σ_π.
        option: N and k.
        prompts: Pools.
        generator: Of the draws.

    Returns:
        (prompts · k, width).
    """
    k = option.pairs_a_prompt
    width = len(weights)
    scores = torch.randn(prompts, option.n_candidates, generator=generator, dtype=torch.float64)
    ordered = scores.sort(1, descending=True).values
    gap = (ordered[:, :k] - ordered.flip(1)[:, :k]).reshape(-1, 1)
    variances, directions = torch.linalg.eigh(covariance)
    root = directions * variances.clamp_min(0).sqrt()
    noise = torch.randn(len(gap), width, generator=generator, dtype=torch.float64)
    rest: Tensor = math.sqrt(2) * noise @ root.T  # of a difference of two texts
    pull = covariance @ weights
    size = float(weights @ pull)
    if size <= 0:
        return rest
    rest = rest - (rest @ weights)[:, None] * pull / size
    differences: Tensor = rest + gap * pull / math.sqrt(size)
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
    both = torch.cat([labeled.double(), synthetic])
    return fit_by_validation(both, validation, shares=shares).weights


def _twice(
    labeled: Tensor,
    validation: Tensor,
    together: Tensor,
    teacher: LinearReward,
    truths: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """(draws, width) fits on the labels and as many new ones, which each draw of w labels.

    New pairs are human pairs drawn again. A part of the teacher's penalty is the same prior beside
    twice the pairs; validation chooses which.
    """
    n, draws = len(labeled), len(truths)
    rows = torch.randint(len(together), (draws, n), generator=generator)
    agrees = torch.rand(draws, n, generator=generator, dtype=torch.float64) < torch.sigmoid(
        (truths @ together.T).gather(1, rows)
    )
    # One set of rows for all draws: the labels one has, then every human pair in both orders.
    both_orders = torch.cat([labeled.double(), together, -together])
    counts = torch.zeros(draws, len(both_orders), dtype=torch.float64)
    counts[:, :n] = 1
    places = n + torch.where(agrees, rows, rows + len(together))
    counts.scatter_add_(1, places, torch.ones(draws, n, dtype=torch.float64))
    fits = []
    for part in (1.0, 0.5, 0.25):
        penalties = torch.full((draws,), part * teacher.penalty, dtype=torch.float64)
        fits.append(fit_logistic(both_orders, counts, penalties))
    tried = torch.stack(fits)
    losses = torch.stack([calibrated_losses(fit @ validation.double().T) for fit in tried])
    return tried[losses.argmin(0), torch.arange(draws)]


def _mean_of(measures: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {key: torch.stack([values[key] for values in measures]).mean(0) for key in METRICS}


def _gain(values: Tensor) -> Gain:
    low, high = torch.quantile(values, torch.tensor(QUANTILES, dtype=torch.float64)).tolist()
    return Gain(float(values.mean()), low, high)
