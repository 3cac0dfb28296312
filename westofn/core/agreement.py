"""Measure how often a tournament misses the exact West-of-N pair, and how cyclic a comparator is.

The tournament of arXiv 2401.12086 is certain to find the argmax of Algorithm 1 only if margins are
differences of rewards. If margins are transitive but not differences, it finds the candidate that
beats all others and the candidate that loses to all; another pair may have a larger margin. Given
the margins of all pairs, both pairs can be computed and compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from westofn.core.selection import BestWorst, exact_best_worst
from westofn.core.tournament import TournamentResult


@dataclass(frozen=True)
class Agreement:
    """Comparison of one pair per pool with the exact West-of-N pair of that pool.

    Attributes:
        best: bool (P,), whether the chosen candidate is the same.
        worst: bool (P,), whether the rejected candidate is the same.
        pair: bool (P,), whether both candidates are the same.
        optimal: bool (P,), whether the pair has the largest margin of its pool. Unlike `pair`, this
            counts ties, such as those between equal responses.
        regret_margin: (P,), largest margin of the pool minus the pair's margin, logits >= 0.
        regret_probability: (P,), the same difference between probabilities, in [0, 1].
    """

    best: Tensor
    worst: Tensor
    pair: Tensor
    optimal: Tensor
    regret_margin: Tensor
    regret_probability: Tensor

    def rates(self) -> AgreementRates:
        """Return the means over the prompts.

        Raises:
            ValueError: There are no prompts.
        """
        prompts = len(self.best)
        if not prompts:
            raise ValueError("agreement of 0 prompts has no mean, needs at least 1")
        return AgreementRates(
            best=_mean(self.best),
            worst=_mean(self.worst),
            pair=_mean(self.pair),
            optimal=_mean(self.optimal),
            regret_margin=_mean(self.regret_margin),
            regret_probability=_mean(self.regret_probability),
            prompts=prompts,
        )


@dataclass(frozen=True)
class AgreementRates:
    """Means of `Agreement` over prompts.

    Attributes:
        best: Share of prompts with the same chosen candidate.
        worst: Share of prompts with the same rejected candidate.
        pair: Share of prompts with the same pair.
        optimal: Share of prompts whose pair has the largest margin, ties included.
        regret_margin: Mean loss of margin, logits.
        regret_probability: Mean loss of probability.
        prompts: Number of prompts.
    """

    best: float
    worst: float
    pair: float
    optimal: float
    regret_margin: float
    regret_probability: float
    prompts: int


@dataclass(frozen=True)
class CyclicTriads:
    """Number of intransitive triples in each pool.

    Attributes:
        count: int64 (P,), triples in which a beats b, b beats c and c beats a.
        share: float64 (P,), `count` / `triples`. For large pools the maximum is about 1/4, which is
            also the value for random margins.
        triples: Number of triples in each pool, N (N - 1) (N - 2) / 6.
    """

    count: Tensor
    share: Tensor
    triples: int


def agreement_with_exact(margins: Tensor, selected: BestWorst | TournamentResult) -> Agreement:
    """Compare one pair per pool, such as the tournament's, with the exact West-of-N pair.

    Args:
        margins: (P, N, N), logits; element (p, i, j) is the margin of candidate i over j.
        selected: The pair to compare, one per prompt.

    Raises:
        ValueError: `exact_best_worst` refuses the margins, the number of pairs differs from the
            number of prompts, an index is not a candidate, or a pair has one candidate twice.

    >>> pool = torch.tensor([[[0.0, 1.0, 3.0], [-1, 0, 2], [-3, -2, 0]]])  # the pair is (0, 2)
    >>> pair = BestWorst(torch.tensor([1]), torch.tensor([2]), torch.sigmoid(torch.tensor([2.0])))
    >>> rates = agreement_with_exact(pool, pair).rates()
    >>> rates.best, rates.worst, rates.pair, rates.regret_margin
    (0.0, 1.0, 0.0, 1.0)
    """
    exact = exact_best_worst(margins)
    chosen, rejected = selected.best.to(margins.device), selected.worst.to(margins.device)
    _check_pairs(margins, chosen, rejected)
    rows = torch.arange(len(margins), device=margins.device)
    largest, reached = margins[rows, exact.best, exact.worst], margins[rows, chosen, rejected]
    best, worst = chosen == exact.best, rejected == exact.worst
    return Agreement(
        best=best,
        worst=worst,
        pair=best & worst,
        optimal=reached == largest,
        regret_margin=largest - reached,
        # Computed in float64: probabilities near 1 differ by less than float32 can represent.
        regret_probability=torch.sigmoid(largest.double()) - torch.sigmoid(reached.double()),
    )


def cyclic_triads(margins: Tensor) -> CyclicTriads:
    """Count the cycles of three candidates in each pool (Kendall and Babington Smith 1940).

    Candidate i beats j if margin(i, j) > margin(j, i). In a tie neither beats the other, so no
    cycle contains a tied pair. With the matrix of wins A, the trace of A^3 counts each cycle three
    times. Without ties the count is C(N, 3) - sum_i C(s_i, 2), where s_i candidates lose to i.

    Args:
        margins: (P, N, N), logits, N >= 3.

    Raises:
        ValueError: The shape is not (P, N, N) with N >= 3, or a margin is NaN.

    >>> cycle = torch.tensor([[[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]]])
    >>> cyclic_triads(cycle).count.tolist(), cyclic_triads(cycle).share.tolist()
    ([1], [1.0])
    """
    shape = tuple(margins.shape)
    if margins.ndim != 3 or shape[1] != shape[2] or shape[1] < 3:
        raise ValueError(f"margins have shape {shape}, needs (prompts, N, N) with N >= 3")
    if margins.isnan().any():
        row = int(margins.isnan().flatten(1).any(1).nonzero()[0])
        raise ValueError(f"margins of prompt {row} are NaN, needs numbers")
    # Counts are whole numbers, exact in float64 for any pool that fits into memory.
    wins = (margins > margins.transpose(1, 2)).double()
    count = ((wins @ wins) * wins.transpose(1, 2)).sum((1, 2)).div(3).round().long()
    triples = math.comb(shape[1], 3)
    return CyclicTriads(count, count.double() / triples, triples)


def _mean(rows: Tensor) -> float:
    return float(rows.double().mean())


def _check_pairs(margins: Tensor, chosen: Tensor, rejected: Tensor) -> None:
    prompts, count, _ = margins.shape
    for name, index in (("best", chosen), ("worst", rejected)):
        if tuple(index.shape) != (prompts,):
            raise ValueError(f"{name} has shape {tuple(index.shape)}, needs ({prompts},)")
        if prompts and not 0 <= int(index.min()) <= int(index.max()) < count:
            index_range = f"{int(index.min())} to {int(index.max())}"
            raise ValueError(
                f"{name} ranges from {index_range}, needs indices of {count} candidates"
            )
    if bool((chosen == rejected).any()):
        row = int((chosen == rejected).nonzero()[0])
        raise ValueError(f"the pair of prompt {row} is one candidate twice, needs two")
