"""Check whether a later round's pools are still in the domain of its reward model, without gold.

In round k the student of round k - 1 labels samples of a policy that reinforcement learning
optimised against the same student. If the policy is over-optimised (Goodhart's law; Gao et al.
2022, arXiv 2210.10760), the student and the first round's base model disagree, or the samples
lose their diversity, or their length changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class PoolHealth:
    """Statistics of a later round's pools, relative to the first pools (round 1, SFT policy).

    Attributes:
        agreement: Share of random pairs that the previous student and the first round's base model
            order the same way; 1/2 for unrelated models.
        spread: Root mean square margin of the previous student over random pairs, divided by its
            value in the first pools.
        distinct: Number of distinct responses / pool size, mean over pools.
        length: Mean tokens per response, divided by its value in the first pools.
    """

    agreement: float
    spread: float
    distinct: float
    length: float


def anchored(student: Tensor, base: Tensor, weight: float) -> Tensor:
    """Weight the margins of the first round's base model (the anchor) against the student's.

    Both have calibrated margins, so their mean needs no scale.

    Args:
        student: Margins of the previous round's student, logits.
        base: Margins of the same pairs by the base model, broadcastable against `student`.
        weight: The share of the base model, in [0, 1].
    """
    return (1 - weight) * student + weight * base


def agreement(first: Tensor, second: Tensor) -> float:
    """Share of pairs on which the margins of two models have the same sign; one 0 counts half.

    Pairs on which both margins are 0, such as pairs of equal responses, are left out.

    Args:
        first: Margins of one model, any shape.
        second: Margins of the other model on the same pairs.

    Returns:
        Share in [0, 1]; 1/2 if no pair is left.

    >>> import torch
    >>> agreement(torch.tensor([1.0, -2.0, 3.0, 0.0]), torch.tensor([2.0, 1.0, 4.0, 0.0]))
    0.6666666865348816
    """
    informative = (first != 0) | (second != 0)
    if not informative.any():
        return 0.5
    return float(((first.sign() * second.sign() + 1) / 2)[informative].mean())


def spread_ratio(margins: Tensor, first: Tensor) -> float:
    """Root mean square of a model's margins, divided by its value in the first pools.

    Returns:
        The ratio; 1 if all margins in the first pools are 0.

    >>> import torch
    >>> spread_ratio(torch.tensor([3.0, 4.0]), torch.tensor([5.0, -5.0]))
    0.7071067811865476
    """
    now, before = (float(values.double().square().mean().sqrt()) for values in (margins, first))
    return now / before if before else 1.0


def distinct_share(pools: Sequence[Sequence[str]]) -> float:
    """Number of distinct responses / pool size, mean over pools.

    >>> distinct_share([["a", "a", "b", "c"], ["d", "d", "d", "d"]])
    0.5
    """
    return sum(len(set(pool)) / len(pool) for pool in pools) / len(pools)


def faults(health: PoolHealth, limits: PoolHealth) -> list[str]:
    """Describe every statistic beyond its limit, one clause each; a limit of 0 is off.

    Args:
        health: Statistics of a round.
        limits: Smallest agreement, spread and distinct share; for length, the largest factor of
            change in either direction.

    >>> faults(PoolHealth(0.9, 0.2, 0.8, 1.1), PoolHealth(0.6, 0.3, 0.1, 2.0))  # doctest: +ELLIPSIS
    ["spread of the previous student's margins ... is 0.200, needs at least 0.3 (won_select...)"]
    """
    smallest = {
        "agreement": "of the previous student with the first round's base model",
        "spread": "of the previous student's margins relative to round 1",
        "distinct": "responses as a share of a pool",
    }
    clauses = [
        f"{name} {what} is {value:.3f}, needs at least {limit:g} (won_select.stop.{name})"
        for name, what in smallest.items()
        if (value := getattr(health, name)) < (limit := getattr(limits, name))
    ]
    factor = limits.length
    if factor and not 1 / factor <= health.length <= factor:
        clauses.append(
            f"length of responses relative to round 1 is {health.length:.3f}, needs "
            f"{1 / factor:.3g} to {factor:g} (won_select.stop.length)"
        )
    return clauses
