"""Which rows stand in which batch is decided by the seed, and no row is forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from westofn.training.batches import PlannedSampler, plan_batches, split_batch

sizes = st.integers(1, 30)


@given(sizes, sizes, st.integers(1, 8), st.integers(1, 20), st.integers(0, 5))
def test_every_batch_holds_the_shares_asked_for(
    human: int, synthetic: int, share: int, steps: int, seed: int
) -> None:
    plan = plan_batches((human, synthetic), (share, share), steps, seed)
    assert plan.shape == (steps, 2 * share)
    # One to one in each batch, not only on average.
    assert ((plan < human).sum(1) == share).all()
    assert plan.min() >= 0
    assert plan.max() < human + synthetic


@given(sizes, sizes, st.integers(1, 8), st.integers(1, 20), st.integers(0, 5))
def test_rows_of_a_set_are_seen_equally_often_but_for_one(
    human: int, synthetic: int, share: int, steps: int, seed: int
) -> None:
    plan = plan_batches((human, synthetic), (share, 2 * share), steps, seed)
    seen = np.bincount(plan.reshape(-1), minlength=human + synthetic)
    for part, drawn in ((seen[:human], share), (seen[human:], 2 * share)):
        assert part.max() - part.min() <= 1
        assert part.sum() == steps * drawn


def test_one_epoch_is_a_permutation_of_the_rows() -> None:
    plan = plan_batches((12,), (4,), steps=3, seed=1)
    assert sorted(plan.reshape(-1).tolist()) == list(range(12))
    assert plan.reshape(-1).tolist() != list(range(12))


def test_the_seed_alone_decides_the_order() -> None:
    first, again, other = (plan_batches((50, 9), (4, 4), 10, seed) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_human_rows_stand_where_they_stood_whatever_the_synthetic_set() -> None:
    # So that arms differ in what is added, and not in the order of what they share.
    small, large = plan_batches((20, 5), (4, 4), 8, 0), plan_batches((20, 500), (4, 4), 8, 0)
    assert (small[:, :4] == large[:, :4]).all()


def test_two_sets_are_not_walked_in_the_same_order() -> None:
    plan = plan_batches((40, 40), (8, 8), 5, 0)
    assert (plan[:, :8] != plan[:, 8:] - 40).any()


def test_an_empty_set_is_refused_unless_no_batch_needs_it() -> None:
    with pytest.raises(ValueError, match="data set 1 is empty but has 2 rows in every batch"):
        plan_batches((4, 0), (2, 2), 3, 0)
    assert plan_batches((4, 0), (2, 0), 3, 0).shape == (3, 2)


@pytest.mark.parametrize(
    ("batch", "fraction", "expected"),
    [(32, 0.5, (16, 16)), (32, 0.25, (24, 8)), (2, 0.01, (1, 1)), (8, 0.99, (1, 7))],
)
def test_a_batch_is_split_by_the_fraction_with_one_of_each_at_least(
    batch: int, fraction: float, expected: tuple[int, int]
) -> None:
    assert split_batch(batch, fraction) == expected


def test_the_sampler_walks_the_plan_row_by_row() -> None:
    sampler = PlannedSampler(np.array([[3, 1], [2, 0]]))
    assert list(sampler) == list(sampler) == [3, 1, 2, 0]
    assert len(sampler) == 4
