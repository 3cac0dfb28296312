from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.losses import (
    LOSSES,
    LossSettings,
    bradley_terry_loss,
    centering_penalty,
    margin_loss,
    smoothed_labels,
)

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


def test_the_margin_asked_grows_with_the_labellers_confidence() -> None:
    # m = 2 (2 p - 1): 2 at p = 1, 1 at p = 0.75, 0 at p = 0.5. Left of each margin: log 3, 0, 0.
    margin = torch.tensor([2 + math.log(3), 1.0, 0.0])
    loss = margin_loss(margin, torch.tensor([1.0, 0.75, 0.5]), LossSettings(loss_margin=2.0))
    assert loss.item() == pytest.approx((math.log(4 / 3) + 2 * math.log(2)) / 3)


@given(MARGINS)
def test_a_margin_of_zero_is_bradley_terry_on_hard_labels(values) -> None:
    margin, p = torch.tensor(values), torch.full((len(values),), 0.7)
    loss = margin_loss(margin, p, LossSettings(loss_margin=0.0))
    torch.testing.assert_close(loss, bradley_terry_loss(margin))


def test_the_conservative_loss_mixes_both_orders_of_the_label() -> None:
    # sigmoid(log 3) = 3/4; e = 0.2: -(0.8 log 3/4 + 0.2 log 1/4).
    loss = LOSSES["conservative"].function(
        torch.tensor([math.log(3)]), torch.ones(1), LossSettings(label_smoothing=0.2)
    )
    assert loss.item() == pytest.approx(-(0.8 * math.log(0.75) + 0.2 * math.log(0.25)))


def test_the_conservative_loss_is_least_where_labels_are_as_wrong_as_expected() -> None:
    # The minimum is at log((1 - e) / e) = log 9, where sigmoid is 0.9.
    margin = torch.tensor([math.log(9)], dtype=torch.float64, requires_grad=True)
    settings = LossSettings(label_smoothing=0.1)
    LOSSES["conservative"].function(margin, torch.ones(1, dtype=torch.float64), settings).backward()
    assert margin.grad.item() == pytest.approx(0.0, abs=1e-12)


def test_smoothing_leaves_a_coin_flip_and_pulls_the_rest_towards_it() -> None:
    settings = LossSettings(label_smoothing=0.25)
    assert [smoothed_labels(p, settings) for p in (0.0, 0.5, 1.0)] == [0.25, 0.5, 0.75]


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(0, 1)), min_size=1, max_size=8))
def test_losses_of_the_table_without_settings_of_their_own_are_the_cross_entropy(rows) -> None:
    margin, p = (torch.tensor(column) for column in zip(*rows, strict=True))
    for name in ("bradley_terry", "soft"):
        loss = LOSSES[name].function(margin, p, LossSettings())
        assert torch.equal(loss, bradley_terry_loss(margin, p))
    assert {name for name, loss in LOSSES.items() if loss.reads_confidence} == {"soft", "margin"}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_falls_as_a_wrong_margin_rises_to_zero(name: str) -> None:
    losses = [
        LOSSES[name].function(torch.tensor([margin]), torch.tensor([0.9]), LossSettings()).item()
        for margin in (-3.0, -2.0, -1.0, 0.0)
    ]
    assert losses == sorted(losses, reverse=True)
    assert len({*losses}) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: margin_loss(torch.zeros(0), torch.zeros(0), LossSettings()), "not empty"),
        (lambda: margin_loss(torch.zeros(2), torch.ones(1), LossSettings()), "shapes differ"),
        (lambda: margin_loss(torch.zeros(1), -torch.ones(1), LossSettings()), r"needs \[0, 1\]"),
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
