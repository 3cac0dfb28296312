from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.losses import bradley_terry_loss, centering_penalty

MARGINS = st.lists(st.floats(-20, 20), min_size=1, max_size=8)


def test_equal_rewards_cost_log_two() -> None:
    assert bradley_terry_loss(torch.zeros(5)).item() == pytest.approx(math.log(2))


def test_loss_is_the_mean_of_minus_log_sigmoid() -> None:
    # sigmoid(log 3) = 3/4 and sigmoid(-log 3) = 1/4: (log 4/3 + log 4) / 2.
    margin = torch.tensor([math.log(3), -math.log(3)])
    expected = (math.log(4 / 3) + math.log(4)) / 2
    assert bradley_terry_loss(margin).item() == pytest.approx(expected)


def test_a_hopeless_margin_costs_its_size_and_not_infinity() -> None:
    assert bradley_terry_loss(torch.tensor([-1000.0])).item() == 1000.0


def test_soft_label_is_the_cross_entropy() -> None:
    # p = 0.25 at sigmoid(margin) = 0.75: -(0.25 log 0.75 + 0.75 log 0.25).
    loss = bradley_terry_loss(torch.tensor([math.log(3)]), torch.tensor([0.25]))
    assert loss.item() == pytest.approx(-(0.25 * math.log(0.75) + 0.75 * math.log(0.25)))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_soft_label_is_least_at_its_own_logit(p: float) -> None:
    margin = torch.tensor([math.log(p / (1 - p))], dtype=torch.float64, requires_grad=True)
    loss = bradley_terry_loss(margin, torch.tensor([p], dtype=torch.float64))
    loss.backward()
    assert margin.grad.item() == pytest.approx(0.0, abs=1e-12)
    assert loss.item() == pytest.approx(-p * math.log(p) - (1 - p) * math.log(1 - p))


@given(MARGINS)
def test_certain_labels_equal_no_labels(values) -> None:
    margin = torch.tensor(values)
    soft = bradley_terry_loss(margin, torch.ones_like(margin))
    torch.testing.assert_close(soft, bradley_terry_loss(margin))


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(0, 1)), min_size=1, max_size=8))
def test_swapping_a_pair_and_its_label_changes_nothing(rows) -> None:
    margin, p = (torch.tensor(column) for column in zip(*rows, strict=True))
    torch.testing.assert_close(bradley_terry_loss(margin, p), bradley_terry_loss(-margin, 1 - p))


def test_gradient_is_the_probability_of_being_wrong() -> None:
    margin = torch.tensor([math.log(3), 0.0], requires_grad=True)
    bradley_terry_loss(margin).backward()
    torch.testing.assert_close(margin.grad, torch.tensor([-0.25, -0.5]) / 2)


def test_labels_of_another_float_type_keep_the_margins_type() -> None:
    loss = bradley_terry_loss(torch.zeros(2), torch.full((2,), 0.5, dtype=torch.float64))
    assert loss.dtype == torch.float32


def test_centering_is_the_mean_squared_sum() -> None:
    # (1 + 3)^2 = 16 and (2 - 4)^2 = 4.
    assert centering_penalty(torch.tensor([1.0, 2.0]), torch.tensor([3.0, -4.0])).item() == 10.0


@given(MARGINS)
def test_rewards_opposite_about_zero_are_free(values) -> None:
    reward = torch.tensor(values)
    assert centering_penalty(reward, -reward).item() == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bradley_terry_loss(torch.zeros(0)), r"shape \(0,\), needs \(batch,\)"),
        (lambda: bradley_terry_loss(torch.zeros(2, 1)), r"shape \(2, 1\)"),
        (lambda: bradley_terry_loss(torch.zeros(2), torch.ones(1)), "shapes differ"),
        (lambda: bradley_terry_loss(torch.zeros(1), torch.tensor([1.1])), r"needs \[0, 1\]"),
        (lambda: bradley_terry_loss(torch.zeros(1), torch.tensor([torch.nan])), r"needs \[0, 1\]"),
        (lambda: centering_penalty(torch.zeros(0), torch.zeros(0)), "not empty"),
        (lambda: centering_penalty(torch.zeros(2), torch.zeros(2, 1)), "shapes differ"),
    ],
)
def test_unfit_batches_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
