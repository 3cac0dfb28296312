"""Temperature scaling finds the scale that was taken away, and is not fooled by few pairs."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.calibration import calibrated_loss, calibrating_scale


@pytest.mark.parametrize("factor", [1e-4, 1.0, 30.0])
def test_the_scale_that_was_taken_away_is_found(factor: float) -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(40_000, generator=generator, dtype=torch.float64) * 2
    right = torch.rand(40_000, generator=generator, dtype=torch.float64) < true.sigmoid()
    margins = torch.where(right, true, -true)
    assert calibrating_scale(margins * factor) * factor == pytest.approx(1, rel=0.03)


@given(st.integers(1, 50))
def test_pairs_that_are_all_right_ask_for_platts_certainty_and_not_for_more(count: int) -> None:
    scale = calibrating_scale(torch.ones(count))
    assert 1 / (1 + math.exp(-scale)) == pytest.approx((count + 1) / (count + 2), abs=1e-4)


@pytest.mark.parametrize("margins", [[-1.0, -2.0, 1.0], [1.0, 1.0, -3.0]])
def test_margins_that_are_wrong_on_average_are_hardly_believed(margins: list[float]) -> None:
    assert 0 < calibrating_scale(torch.tensor(margins)) < 1e-2


def test_margins_that_say_nothing_have_no_scale() -> None:
    assert calibrating_scale(torch.zeros(3)) == 1
    assert calibrated_loss(torch.zeros(3)) == pytest.approx(math.log(2))


@pytest.mark.parametrize("margins", [[], [math.nan], [math.inf, 1.0]])
@pytest.mark.parametrize("measure", [calibrated_loss, calibrating_scale])
def test_margins_that_are_no_numbers_are_refused(measure, margins: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        measure(torch.tensor(margins))
