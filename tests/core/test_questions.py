"""Questions go where a label is needed, are not asked twice, and are what a longer way chooses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from westofn.core.questions import (
    INFORMATION,
    CandidatePairs,
    certainty,
    choose_batch,
    choose_questions,
    laplace_covariance,
    mahalanobis,
    resampled_heads,
    smallest_of_group,
)

EYE = torch.eye(2, dtype=torch.float64)


def tensor(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def each(count: int) -> Tensor:
    """Every pair is of a prompt of its own."""
    return torch.arange(count)


def test_the_gain_of_a_pair_is_the_fall_of_the_trace() -> None:
    x = tensor([[2.0, 0.0]])
    batch = choose_batch(x, each(1), 1, covariance=EYE, target=torch.diag(tensor([[3, 1]])[0]))
    # C falls from 1 to 1 / (1 + 4/4) = 1/2 along the first axis, where Σ is 3.
    assert batch.rows == [0]
    assert batch.gains == pytest.approx([1.5])


def test_what_the_policy_does_not_vary_in_is_not_asked() -> None:
    x = tensor([[0.0, 9.0], [1.0, 0.0]])
    batch = choose_batch(x, each(2), 1, covariance=EYE, target=torch.diag(tensor([[1, 0]])[0]))
    assert batch.rows == [1]


def test_what_is_known_already_is_not_asked() -> None:
    x = tensor([[1.0, 0.0], [0.0, 1.0]])
    covariance = torch.diag(tensor([[0.01, 1]])[0])
    assert choose_batch(x, each(2), 1, covariance=covariance, target=EYE).rows == [1]


def test_a_copy_of_the_first_pair_comes_after_another_direction() -> None:
    # After the first label C is 1 / (1 + 1.21 / 4) = 0.768 along it, so that the copy's gain is
    # (0.768² · 1.21 / 4) / (1 + 0.768 · 1.21 / 4) = 0.145; the other pair's is (1 / 4) / (5 / 4).
    x = tensor([[1.1, 0.0], [1.1, 0.0], [0.0, 1.0]])
    batch = choose_batch(x, each(3), 3, covariance=EYE, target=EYE)
    assert batch.rows == [0, 2, 1]
    assert batch.gains[1:] == pytest.approx([0.2, 0.145], abs=5e-4)


def test_conditioning_by_rank_one_is_that_of_the_whole_matrix() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    sigma = root @ root.T
    batch = choose_batch(x, each(30), 6, covariance=torch.eye(4) * 2, target=sigma)
    precision = torch.eye(4, dtype=torch.float64) / 2
    free = set(range(30))
    for row, gain in zip(batch.rows, batch.gains, strict=True):
        falls = []
        for other in x:
            after = torch.linalg.inv(precision + INFORMATION * torch.outer(other, other))
            falls.append(float((sigma @ (torch.linalg.inv(precision) - after)).trace()))
        assert gain == pytest.approx(falls[row])
        assert gain == pytest.approx(max(falls[other] for other in free))
        free.remove(row)
        precision += INFORMATION * torch.outer(x[row], x[row])


@pytest.mark.parametrize(("a_group", "rows"), [(1, [0, 2]), (2, [0, 1, 2])])
def test_a_prompt_has_no_more_questions_than_asked_for(a_group: int, rows: list[int]) -> None:
    x = tensor([[9.0, 0.0], [0.0, 8.0], [1.0, 0.0]])
    groups = torch.tensor([0, 0, 1])
    batch = choose_batch(x, groups, 9, covariance=EYE, target=EYE, a_group=a_group)
    assert sorted(batch.rows) == rows


def test_no_pair_is_no_question() -> None:
    batch = choose_batch(
        torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), 3, covariance=EYE, target=EYE
    )
    assert batch.rows == []


def test_the_laplace_covariance_of_no_signal_is_prior_and_a_quarter_of_the_squares() -> None:
    x = tensor([[2.0, 0.0], [0.0, 4.0]])
    found = laplace_covariance(x, torch.zeros(2, dtype=torch.float64), 0.5)
    assert torch.allclose(found, torch.diag(tensor([[1 / (1 + 1), 1 / (4 + 1)]])[0]))


def test_resampled_heads_differ_where_pairs_disagree() -> None:
    agree, disagree = tensor([[1.0, 0.0]] * 8), tensor([[0.0, 1.0], [0.0, -1.0]] * 4)
    heads = resampled_heads(torch.cat([agree, disagree]), 0.1, 50, seed=0)
    assert heads.shape == (50, 2)
    assert bool((heads[:, 0] > 0).all())
    assert 0 < float((heads[:, 1] > 0).double().mean()) < 1
    assert torch.equal(heads, resampled_heads(torch.cat([agree, disagree]), 0.1, 50, seed=0))


def test_certainty_is_the_mean_in_deviations() -> None:
    assert certainty(tensor([[1.0, 3.0], [-1.0, 1.0]])).tolist() == pytest.approx([2 / 2**0.5, 0])


def test_size_is_told_in_deviations_even_without_full_rank() -> None:
    covariance = torch.diag(tensor([[4, 0]])[0])
    sizes = mahalanobis(tensor([[2.0, 0.0], [4.0, 0.0]]), covariance)
    assert sizes.tolist() == pytest.approx([1, 4])
    assert bool(mahalanobis(tensor([[0.0, 1.0]]), covariance).isfinite().all())


def test_every_group_keeps_its_smallest() -> None:
    groups = torch.tensor([1, 0, 1, 0, 3])
    values = torch.tensor([5.0, 2.0, 4.0, 1.0, 7.0])
    assert smallest_of_group(values, groups, 0.5).tolist() == [2, 3, 4]


def test_the_pair_that_nobody_knows_the_order_of_is_asked() -> None:
    """Human pairs teach the first axis only; pools vary along both alike."""
    generator = torch.Generator().manual_seed(2)
    human = tensor([[1.0, 0.0]] * 9 + [[1.0, 0.4], [1.0, -0.4]])
    corners = tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    pools = corners + 0.01 * torch.randn(6, 4, 2, generator=generator, dtype=torch.float64)
    first, second = [0, 0], [1, 2]  # along the first axis; along the second
    pairs = CandidatePairs(
        torch.arange(6).repeat_interleave(2), torch.tensor(first * 6), torch.tensor(second * 6)
    )
    batch = choose_questions(human, human, pools, pairs, 6, seed=0)
    assert sorted(pairs.prompts[batch.rows].tolist()) == [0, 1, 2, 3, 4, 5]
    assert pairs.second[batch.rows].tolist() == [2] * 6
    assert batch.gains == sorted(batch.gains, reverse=True)
