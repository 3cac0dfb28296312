"""κ without counting noise as preference: planted linear worlds with known values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from westofn.core.kappa import measure_kappa

WIDTH = 8
STRONG = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.1, 0.1], dtype=torch.float64)


def pairs(count: int, truth: Tensor, seed: int = 0) -> Tensor:
    """Isotropic human pairs, labelled by a Bradley-Terry annotator."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, WIDTH, generator=generator, dtype=torch.float64)
    agrees = torch.rand(count, generator=generator, dtype=torch.float64) < torch.sigmoid(x @ truth)
    return torch.where(agrees[:, None], x, -x)


def pools(prompts: int = 400) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(prompts, 8, WIDTH, generator=generator, dtype=torch.float64)
    return noise * STRONG.sqrt()


@pytest.mark.parametrize("direction", [0, 2, 7])
def test_kappa_is_the_variance_along_the_preference_over_the_mean_variance(direction: int) -> None:
    truth = torch.zeros(WIDTH, dtype=torch.float64)
    truth[direction] = 2.0
    kappa = measure_kappa(pairs(4000, truth), pools(), 1e-3, seed=0)
    assert kappa is not None
    expected = float(STRONG[direction] / STRONG.mean())
    assert kappa.policy == pytest.approx(expected, rel=0.15, abs=0.05)
    # Human pairs vary alike in all directions.
    assert kappa.human == pytest.approx(1.0, rel=0.1)
    assert kappa.ratio == pytest.approx(kappa.policy / kappa.human)
    low, high = kappa.policy_interval
    assert low < kappa.policy < high
    assert kappa.agreement > 0.9


def test_split_halves_do_not_count_noise_as_preference() -> None:
    # Few labels of a preference in the weakest direction: a single fit's noise lies in all
    # directions, so its own variance would be near the mean; the halves' noise cancels.
    truth = torch.zeros(WIDTH, dtype=torch.float64)
    truth[7] = 1.5
    few = [measure_kappa(pairs(120, truth, seed), pools(), 1e-2, seed=seed) for seed in range(12)]
    measured = [kappa.policy for kappa in few if kappa is not None]
    assert len(measured) == 12
    expected = float(STRONG[7] / STRONG.mean())
    assert abs(sum(measured) / 12 - expected) < 0.15


def test_labels_that_say_nothing_have_no_kappa_or_hardly_agree() -> None:
    nothing = torch.zeros(WIDTH, dtype=torch.float64)
    kappas = [measure_kappa(pairs(60, nothing, s), pools(), 1e-2, seed=s) for s in range(10)]
    assert any(kappa is None for kappa in kappas)
    assert all(kappa.agreement < 0.4 for kappa in kappas if kappa is not None)


def test_equal_seeds_give_equal_numbers() -> None:
    truth = torch.ones(WIDTH, dtype=torch.float64)
    data = pairs(100, truth)
    assert measure_kappa(data, pools(), 1e-2, seed=3) == measure_kappa(data, pools(), 1e-2, seed=3)


def test_three_pairs_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="3 pairs cannot be split in halves, needs at least 4"):
        measure_kappa(torch.ones(3, WIDTH, dtype=torch.float64), pools(), 1e-2, seed=0)
