from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.comparators import (
    COMPARATORS,
    lower_confidence_margins,
    margins,
    mean_margin,
    pair_margin,
)

SHAPES = st.tuples(st.integers(1, 3), st.integers(2, 6), st.integers(0, 3), st.integers(0, 99))


def features(shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    prompts, candidates, planes, seed = shape
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(prompts, candidates, 1 + 2 * planes, generator=generator)
    return (drawn * 10.0 ** (seed % 7 - 3)).to(dtype)


def test_margin_is_reward_difference_plus_cross_products() -> None:
    # r, u1, u2, w1, w2: 3 - 1 + (1*2 - 5*4) + (2*1 - 0*3) = 2 - 18 + 2
    a = torch.tensor([3.0, 1.0, 2.0, 5.0, 0.0])
    b = torch.tensor([1.0, 4.0, 3.0, 2.0, 1.0])
    assert pair_margin(a, b).item() == -14.0
    assert margins(torch.stack([a, b])).tolist() == [[0.0, -14.0], [14.0, 0.0]]


@given(SHAPES)
def test_margins_are_exactly_skew_symmetric(shape) -> None:
    result = margins(features(shape))
    assert torch.equal(result, -result.transpose(-1, -2))


@given(SHAPES)
def test_pair_margin_changes_sign_exactly_when_the_pair_is_swapped(shape) -> None:
    pool = features(shape)
    a, b = pool[:, 0], pool[:, 1]
    assert torch.equal(pair_margin(a, b), -pair_margin(b, a))


@given(SHAPES)
def test_margins_of_a_pool_are_the_margins_of_its_pairs(shape) -> None:
    pool = features(shape, torch.float64)
    pairs = pair_margin(pool.unsqueeze(-2), pool.unsqueeze(-3))
    torch.testing.assert_close(margins(pool), pairs)


@given(SHAPES)
def test_one_feature_is_bradley_terry(shape) -> None:
    pool = features(shape)[..., :1]
    assert torch.equal(margins(pool), pool - pool.transpose(-1, -2))


def test_one_plane_represents_a_cycle() -> None:
    # (u, w) = (cos, sin): margin(a, b) = sin(angle_b - angle_a), and sin 120 degrees = sqrt(3)/2.
    angles = torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64) * math.pi / 3
    pool = torch.stack([torch.zeros(3), angles.cos(), angles.sin()], dim=1)
    result = margins(pool)
    for winner, loser in [(0, 1), (1, 2), (2, 0)]:
        assert result[winner, loser].item() == pytest.approx(math.sqrt(3) / 2)


def test_margins_pass_gradients_to_every_feature() -> None:
    pool = features((1, 3, 2, 3)).requires_grad_()
    margins(pool)[0, 0, 1].backward()
    assert (pool.grad[0, :2] != 0).all()
    assert (pool.grad[0, 2] == 0).all()


def test_mean_margin_leaves_the_candidate_itself_out() -> None:
    square = torch.tensor([[99.0, 1.0, 3.0], [-1.0, 99.0, 2.0], [-3.0, -2.0, 99.0]])
    assert mean_margin(square).tolist() == [2.0, 0.5, -2.5]


@given(SHAPES)
def test_mean_margin_of_bradley_terry_is_the_centred_reward_scaled(shape) -> None:
    pool = features(shape, torch.float64)[..., :1]
    reward, n = pool.squeeze(-1), shape[1]
    expected = (reward - reward.mean(-1, keepdim=True)) * n / (n - 1)
    torch.testing.assert_close(mean_margin(margins(pool)), expected)


def test_lower_confidence_is_mean_less_standard_deviations() -> None:
    # Members say 1 and 5: mean 3, standard deviation 2; backward -3 and 2.
    members = torch.tensor([[[0.0, 1.0], [-1.0, 0.0]], [[0.0, 5.0], [-5.0, 0.0]]])
    assert lower_confidence_margins(members, 0.5).tolist() == [[0.0, 2.0], [-4.0, 0.0]]
    assert lower_confidence_margins(members, 0.0).tolist() == [[0.0, 3.0], [-3.0, 0.0]]


def test_an_even_number_of_features_is_refused() -> None:
    with pytest.raises(ValueError, match="features number 4, needs 1 \\+ 2L"):
        margins(torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pair_margin(torch.zeros(3), torch.zeros(5)), "number 3 and 5"),
        (lambda: pair_margin(torch.tensor(1.0), torch.tensor(1.0)), "features number 0"),
        (lambda: margins(torch.zeros(3)), r"shape \(3,\), needs \(\.\.\., N, 1 \+ 2L\)"),
        (lambda: mean_margin(torch.zeros(1, 1)), r"shape \(1, 1\), needs"),
        (lambda: mean_margin(torch.zeros(2, 3)), r"shape \(2, 3\), needs"),
        (lambda: lower_confidence_margins(torch.zeros(2, 2), 1.0), "needs \\(members"),
        (lambda: lower_confidence_margins(torch.zeros(0, 2, 2), 1.0), "needs \\(members"),
        (lambda: lower_confidence_margins(torch.zeros(1, 2, 2), -1.0), "weight is -1.0"),
    ],
)
def test_unfit_shapes_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


class Planted:
    """Pools whose candidates have planted features; a row of two gives the first one's product."""

    def __init__(self, features: torch.Tensor) -> None:
        self.features, self.asked = features, 0

    @property
    def shape(self) -> tuple[int, int]:
        return self.features.shape[0], self.features.shape[1]

    def responses(self) -> torch.Tensor:
        self.asked += self.features.shape[1]
        return self.features

    def both_orders(self, prompt: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        self.asked += 2 * len(a) // len(self.features)
        first, second = self.features[prompt, a, 0], self.features[prompt, b, 0]
        return torch.stack((3 * first - second, 3 * second - first), -1).unsqueeze(-1)


def test_a_joint_row_holds_both_responses_in_both_orders() -> None:
    rows = {name: comparator.rows([1, 2], [3]) for name, comparator in COMPARATORS.items()}
    assert rows == {
        "embedding": ([1, 2], [3]),
        "joint": ([1, 2, 3], [3, 1, 2]),
        "pointwise": ([1, 2], [3]),
    }
    assert {name: c.responses_a_row for name, c in COMPARATORS.items()} == {
        "embedding": 1,
        "joint": 2,
        "pointwise": 1,
    }


def test_the_head_has_two_numbers_for_each_plane_of_an_embedding_alone() -> None:
    widths = {name: comparator.head_width(3) for name, comparator in COMPARATORS.items()}
    assert widths == {"embedding": 7, "joint": 1, "pointwise": 1}


def test_a_joint_margin_is_half_the_difference_of_both_orders() -> None:
    outputs = torch.tensor([[[5.0], [1.0]], [[0.0], [3.0]]])
    assert COMPARATORS["joint"].margin(outputs).tolist() == [2.0, -1.5]
    assert COMPARATORS["pointwise"].margin(outputs).tolist() == [4.0, -3.0]


def test_only_a_pointwise_model_gives_rewards() -> None:
    assert [name for name, c in COMPARATORS.items() if c.gives_rewards] == ["pointwise"]


@pytest.mark.parametrize(("name", "exact", "tournament"), [("embedding", 5, 5), ("joint", 20, 14)])
def test_forward_passes_of_a_pool_of_five(name: str, exact: int, tournament: int) -> None:
    # 5 * 4 / 2 = 10 pairs; a tournament compares 7 of them. A joint row costs a pass an order.
    comparator = COMPARATORS[name]
    assert comparator.forward_passes(5, 10) == exact
    assert comparator.forward_passes(5, 7) == tournament


@pytest.mark.parametrize("name", COMPARATORS)
@given(shape=SHAPES)
def test_margins_of_pools_are_those_of_their_pairs_at_the_stated_cost(name, shape) -> None:
    prompts, count, *_ = shape
    pools, comparator = Planted(features(shape, torch.float64)), COMPARATORS[name]
    square = comparator.margins(pools)
    assert pools.asked == comparator.forward_passes(count, count * (count - 1) // 2)
    p, a, b = torch.ones(prompts, count, count).nonzero().T
    pairs = comparator.compare(pools)(p, a, b)
    torch.testing.assert_close(square.double(), pairs.view_as(square), check_dtype=False)
