"""The forecast against planted linear worlds, where what happens can be simulated."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from westofn.core.forecast import Forecast, expected_maximum, forecast
from westofn.core.forecast_terms import PRIOR, TWICE, Option

WIDTH = 16
VARIANCES = 1.0 / torch.arange(1, WIDTH + 1, dtype=torch.float64) ** 1.5
ONE = Option(64, 1)


def truth(align: float, seed: int) -> Tensor:
    """w² in proportion to the policy's variances to the power `align`, signs by coin."""
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (WIDTH,), generator=generator).double() * 2 - 1
    w = signs * VARIANCES ** (align / 2)
    return 2.0 * w / w.norm()


def pairs(w: Tensor, count: int, seed: int, variances: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(100 + seed)
    x = torch.randn(count, WIDTH, generator=generator, dtype=torch.float64) * variances.sqrt()
    agrees = torch.rand(count, generator=generator, dtype=torch.float64) < torch.sigmoid(x @ w)
    return torch.where(agrees[:, None], x, -x)


def pools() -> Tensor:
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(200, 4, WIDTH, generator=generator, dtype=torch.float64)
    return noise * VARIANCES.sqrt()


def foreseen(align: float, seed: int, variances: Tensor | None = None) -> Forecast:
    w = truth(align, seed)
    human = torch.ones(WIDTH, dtype=torch.float64) if variances is None else variances
    return forecast(
        pairs(w, 30, seed, human),
        pairs(w, 200, seed + 50, human),
        pools(),
        seed=seed,
        options=(ONE,),
        draws=60,
        resamples=10,
    )


def mean_gain(align: float, arm: str, variances: Tensor | None = None) -> float:
    gains = [
        foreseen(align, seed, variances).gains[arm]["on_policy_accuracy"].mean for seed in range(4)
    ]
    return sum(gains) / len(gains)


def test_an_aligned_off_policy_world_is_promised_a_gain_and_an_unaligned_one_less() -> None:
    aligned, spread = mean_gain(2.0, ONE.name), mean_gain(-1.0, ONE.name)
    assert aligned > 1.0
    assert spread < aligned - 1.0


def test_where_human_pairs_vary_as_the_policy_does_less_is_promised() -> None:
    assert mean_gain(2.0, ONE.name, VARIANCES * WIDTH / VARIANCES.sum()) < mean_gain(2.0, ONE.name)


def test_the_powers_posterior_follows_the_alignment() -> None:
    high, low = foreseen(2.0, 0).powers, foreseen(-1.0, 0).powers
    assert math.isclose(sum(high.values()), 1.0, rel_tol=1e-9)
    assert high[0.0] < 0.1 < low[0.0]


def test_intervals_hold_their_mean_and_twice_the_labels_gain() -> None:
    result = foreseen(1.0, 1)
    for gains in result.gains.values():
        for gain in gains.values():
            assert gain.low <= gain.mean <= gain.high
    assert result.gains.keys() == {ONE.name, PRIOR, TWICE}
    assert mean_gain(1.0, TWICE) > 0
    level = result.teacher["best_of_n_gold"]
    assert 0 < level.mean <= expected_maximum(64)


def test_equal_seeds_give_equal_forecasts() -> None:
    assert foreseen(1.0, 2) == foreseen(1.0, 2)


@pytest.mark.parametrize("candidates", [0, 1])
def test_pools_of_one_candidate_have_no_covariance(candidates: int) -> None:
    w = truth(1.0, 0)
    few = pools()[:, :candidates]
    with pytest.raises(ValueError, match="the covariance needs at least 2"):
        forecast(pairs(w, 30, 0, VARIANCES), pairs(w, 30, 1, VARIANCES), few, seed=0)
