"""Whether a later round of the loop still stands on what its reward model knows; no gold is needed.

Round k asks the student of round k - 1 about samples of the policy that reinforcement learning
optimised against that very student. Where this goes wrong, the student and the first round's base
model no longer agree, or the samples are all alike, or of another length (Goodhart's law; Gao et
al. 2022, arXiv 2210.10760).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class PoolHealth:
    """A later round's pools; "first" are those of round 1, sampled from the SFT policy.

    Attributes:
        agreement: Share of random pairs that the previous student and the first round's base model
            order alike; 1/2 for models that have nothing in common.
        spread: Root mean square margin of the previous student over random pairs, as a multiple of
            the same in the first pools.
        distinct: Share of a pool's responses that differ from each other, a mean over pools.
        length: Mean tokens a response, as a multiple of the first pools'.
    """

    agreement: float
    spread: float
    distinct: float
    length: float


def agreement(first: Tensor, second: Tensor) -> float:
    """Share of pairs on which two models' margins have one sign; a margin of 0 counts half.

    Pairs on which both are 0, as equal responses make them, say nothing and are left out.

    Args:
        first: Margins of one model, any shape.
        second: Of the other, of the same pairs.

    Returns:
        In [0, 1]; 1/2 where no pair is left.

    >>> import torch
    >>> agreement(torch.tensor([1.0, -2.0, 3.0, 0.0]), torch.tensor([2.0, 1.0, 4.0, 0.0]))
    0.6666666865348816
    """
    told = (first != 0) | (second != 0)
    if not told.any():
        return 0.5
    return float(((first.sign() * second.sign() + 1) / 2)[told].mean())


def spread_ratio(margins: Tensor, first: Tensor) -> float:
    """Root mean square of a model's margins, as a multiple of that in the first pools.

    Returns:
        1 where all margins in the first pools are 0: there is nothing to lose.

    >>> import torch
    >>> spread_ratio(torch.tensor([3.0, 4.0]), torch.tensor([5.0, -5.0]))
    0.7071067811865476
    """
    now, before = (float(values.double().square().mean().sqrt()) for values in (margins, first))
    return now / before if before else 1.0


def distinct_share(pools: Sequence[Sequence[str]]) -> float:
    """Share of a pool's responses that differ from each other, a mean over pools.

    >>> distinct_share([["a", "a", "b", "c"], ["d", "d", "d", "d"]])
    0.5
    """
    return sum(len(set(pool)) / len(pool) for pool in pools) / len(pools)


def faults(health: PoolHealth, limits: PoolHealth) -> list[str]:
    """What lies beyond its limit, each as one clause; a limit of 0 asks for nothing.

    Args:
        health: Of a round.
        limits: The smallest agreement, spread and distinct share; the largest change of length, a
            factor in either direction.

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
