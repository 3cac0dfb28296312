"""What an elimination tournament misses, and how intransitive a comparator is.

The tournament of arXiv 2401.12086 finds the argmax of Algorithm 1 for certain only where margins
are differences of rewards; where they are merely transitive it finds the response that beats all
others and the one that loses to all, between which the margin need not be the largest. With the
margins of all pairs at hand both answers are known, and so is the difference.
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
    """A pair of each pool against the exact West-of-N pair, prompt by prompt.

    Attributes:
        best: bool (P,), the same chosen candidate.
        worst: bool (P,), the same rejected candidate.
        pair: bool (P,), both.
        optimal: bool (P,), the pair has the largest margin of its pool: `pair`, or a tie with it,
            as equal responses make it.
        regret_margin: (P,), largest margin of the pool less the pair's, logits >= 0.
        regret_probability: (P,), the same of probabilities, in [0, 1].
    """

    best: Tensor
    worst: Tensor
    pair: Tensor
    optimal: Tensor
    regret_margin: Tensor
    regret_probability: Tensor

    def rates(self) -> AgreementRates:
        """Means over the prompts.

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
        worst: Share with the same rejected one.
        pair: Share with the same pair.
        optimal: Share whose pair has the largest margin, ties included.
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
    """Intransitive triples of each pool.

    Attributes:
        count: int64 (P,), triples in which a beats b, b beats c and c beats a.
        share: float64 (P,), of all `triples`; at most about 1/4 of a large pool, which is also what
            coin flips give.
        triples: N (N - 1) (N - 2) / 6, of each pool.
    """

    count: Tensor
    share: Tensor
    triples: int


def agreement_with_exact(margins: Tensor, found: BestWorst | TournamentResult) -> Agreement:
    """Compares a pair of each pool, such as a tournament's, with the exact one.

    Args:
        margins: (P, N, N), logits; element (p, i, j) is the margin of candidate i over j.
        found: One pair of each of the P prompts.

    Raises:
        ValueError: As `exact_best_worst`; another number of pairs than prompts; an index that is
            not a candidate, or a candidate paired with itself.

    >>> pool = torch.tensor([[[0.0, 1.0, 3.0], [-1, 0, 2], [-3, -2, 0]]])  # the pair is (0, 2)
    >>> pair = BestWorst(torch.tensor([1]), torch.tensor([2]), torch.sigmoid(torch.tensor([2.0])))
    >>> rates = agreement_with_exact(pool, pair).rates()
    >>> rates.best, rates.worst, rates.pair, rates.regret_margin
    (0.0, 1.0, 0.0, 1.0)
    """
    exact = exact_best_worst(margins)
    chosen, rejected = found.best.to(margins.device), found.worst.to(margins.device)
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
        # Probabilities anew and in float64: sure pairs differ by less than float32 can tell.
        regret_probability=torch.sigmoid(largest.double()) - torch.sigmoid(reached.double()),
    )


def cyclic_triads(margins: Tensor) -> CyclicTriads:
    """Counts each pool's cycles of three (Kendall and Babington Smith 1940).

    i beats j where margin(i, j) > margin(j, i), so a tie is beaten by neither and its triples are
    no cycles. The trace of A^3 of the matrix of wins counts each cycle three times; without ties it
    is C(N, 3) - sum_i C(s_i, 2), s_i being the number of candidates that i beats.

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
    # Whole numbers, exact in float64 for any pool that fits into memory.
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
            found = f"{int(index.min())} to {int(index.max())}"
            raise ValueError(f"{name} ranges from {found}, needs indices of {count} candidates")
    if bool((chosen == rejected).any()):
        row = int((chosen == rejected).nonzero()[0])
        raise ValueError(f"the pair of prompt {row} is one candidate twice, needs two")
