"""Best and worst of every pool by simultaneous elimination, for comparators that see two responses.

The paper's procedure (arXiv 2401.12086): a joint comparator pays for every pair, so the
pool is not compared in full. The first round splits each pool into winners and losers; then the
winners play for best and the losers for worst, ceil(3N/2) - 2 comparisons a prompt. Transitivity is
not assumed. Since nobody is in both halves, best and worst are never the same candidate, even
under cycles or when everything ties.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from westofn.core.comparators import Compare


@dataclass(frozen=True)
class TournamentResult:
    """The pair that an elimination tournament found for each prompt.

    Attributes:
        best: int64 (P,), index of the chosen candidate.
        worst: int64 (P,), index of the rejected one; differs from `best` in every row.
        p_best: (P,), the comparator's probability that `best` is preferred to `worst`. Below 0.5
            only if the comparator is intransitive.
        comparisons_per_prompt: Comparisons asked for each prompt: `elimination_comparisons(N)`
            and one more for `p_best`.
    """

    best: Tensor
    worst: Tensor
    p_best: Tensor
    comparisons_per_prompt: int


def tournament_best_worst(
    compare: Compare,
    n_prompts: int,
    n_candidates: int,
    bracket_uniforms: Tensor | None = None,
) -> TournamentResult:
    """Finds each pool's best and worst candidate; every round is one call for all prompts.

    `compare` must be skew-symmetric, as averaging both orders makes it. A call lists the prompts in
    order, the lower index first in each match, and a margin of zero is a win of that one; the last
    call asks for best against worst, one comparison a prompt.

    Args:
        compare: See `Compare`; returns logits, on any device.
        n_prompts: P >= 1.
        n_candidates: N >= 2, of each prompt.
        bracket_uniforms: (P, N) numbers whose order seeds the bracket; None seeds it by index.
            Only an intransitive comparator, or ties, make a difference.

    Returns:
        Indices and probabilities on the CPU.

    Raises:
        ValueError: P < 1, N < 2, `bracket_uniforms` of another shape, or `compare` returns
            something other than one margin a comparison, or NaN.

    >>> rewards = torch.tensor([[0.0, 2.0, -1.0, 1.0]])
    >>> result = tournament_best_worst(lambda p, a, b: rewards[p, a] - rewards[p, b], 1, 4)
    >>> result.best.item(), result.worst.item(), result.comparisons_per_prompt
    (1, 2, 5)
    """
    order = _bracket(n_prompts, n_candidates, bracket_uniforms)
    winners, losers = _first_round(compare, order)
    while winners.shape[1] > 1:
        winners, losers = _next_round(compare, winners, losers)
    p_best = torch.sigmoid(_margins(compare, winners, losers))
    comparisons = elimination_comparisons(n_candidates) + 1
    return TournamentResult(winners[:, 0], losers[:, 0], p_best[:, 0], comparisons)


def elimination_comparisons(n_candidates: int) -> int:
    """Returns ceil(3N/2) - 2, the comparisons that find the best and the worst of N.

    No procedure needs fewer in the worst case (Pohl 1972, "A sorting problem and its complexity").

    Raises:
        ValueError: N < 2.

    >>> [elimination_comparisons(n) for n in (2, 3, 4, 64)]
    [1, 3, 4, 94]
    """
    if n_candidates < 2:
        raise ValueError(f"n_candidates is {n_candidates}, needs at least 2")
    return (3 * n_candidates + 1) // 2 - 2


def _bracket(n_prompts: int, n_candidates: int, bracket_uniforms: Tensor | None) -> Tensor:
    """Returns the starting order of the candidates, int64 (P, N)."""
    if n_prompts < 1 or n_candidates < 2:
        given = f"{n_prompts} prompts of {n_candidates} candidates"
        raise ValueError(f"a tournament of {given}, needs at least 1 prompt and 2 candidates")
    if bracket_uniforms is None:
        return torch.arange(n_candidates).expand(n_prompts, -1)
    shape = tuple(bracket_uniforms.shape)
    if shape != (n_prompts, n_candidates):
        raise ValueError(f"bracket_uniforms: {shape}, needs {(n_prompts, n_candidates)}")
    return bracket_uniforms.argsort(dim=1, stable=True).cpu()


def _first_round(compare: Compare, order: Tensor) -> tuple[Tensor, Tensor]:
    """Splits (P, N) candidates into winners and losers, each (P, N // 2) and disjoint."""
    paired = order.shape[1] // 2 * 2
    left, right = order[:, 0:paired:2], order[:, 1:paired:2]
    left_wins = _left_wins(compare, left, right)
    winners = torch.where(left_wins, left, right)
    losers = torch.where(left_wins, right, left)
    if paired < order.shape[1]:
        return _seat_odd_candidate(compare, order[:, paired:], winners, losers)
    return winners, losers


def _seat_odd_candidate(
    compare: Compare, odd: Tensor, winners: Tensor, losers: Tensor
) -> tuple[Tensor, Tensor]:
    """Lets the candidate without a partner (P, 1) play both members of the last pair.

    Beating both takes the winner's seat, losing to both the loser's. In between (or in a cycle of
    the three) it goes: seating it in both halves could make it best and worst at once.
    """
    pair = torch.cat([winners[:, -1:], losers[:, -1:]], dim=1)
    odd_wins = _left_wins(compare, odd.expand(-1, 2), pair)
    beats_both = odd_wins.all(1, keepdim=True)
    loses_to_both = (~odd_wins).all(1, keepdim=True)
    best_seat = torch.where(beats_both, odd, pair[:, :1])
    worst_seat = torch.where(loses_to_both, odd, pair[:, 1:])
    return (
        torch.cat([winners[:, :-1], best_seat], dim=1),
        torch.cat([losers[:, :-1], worst_seat], dim=1),
    )


def _next_round(compare: Compare, winners: Tensor, losers: Tensor) -> tuple[Tensor, Tensor]:
    """Halves both brackets (P, K) -> (P, ceil(K / 2)) in one call; an odd last one has a bye."""
    paired = winners.shape[1] // 2 * 2
    both = torch.stack([winners, losers], dim=1)
    left, right = both[:, :, 0:paired:2], both[:, :, 1:paired:2]
    left_wins = _left_wins(compare, left.flatten(1), right.flatten(1)).view(left.shape)
    best = torch.where(left_wins[:, 0], left[:, 0], right[:, 0])
    worst = torch.where(left_wins[:, 1], right[:, 1], left[:, 1])
    # The bye goes first, so that the next one falls on somebody else.
    return (
        torch.cat([winners[:, paired:], best], dim=1),
        torch.cat([losers[:, paired:], worst], dim=1),
    )


def _left_wins(compare: Compare, left: Tensor, right: Tensor) -> Tensor:
    """Returns for (P, K) matches who wins; a tie is the lower index's, wherever it stands."""
    low, high = torch.minimum(left, right), torch.maximum(left, right)
    low_wins = _margins(compare, low, high) >= 0
    return low_wins == (left == low)


def _margins(compare: Compare, a: Tensor, b: Tensor) -> Tensor:
    """Asks for all (P, K) comparisons in one call, those of a prompt side by side."""
    prompts, matches = a.shape
    prompt_index = torch.arange(prompts).repeat_interleave(matches)
    margin = compare(prompt_index, a.flatten(), b.flatten()).detach().cpu()
    if margin.shape != prompt_index.shape:
        given, needed = tuple(margin.shape), tuple(prompt_index.shape)
        raise ValueError(f"compare returned margins of shape {given}, needs {needed}")
    if margin.isnan().any():
        row = int(prompt_index[margin.isnan()][0])
        raise ValueError(f"compare returned NaN for prompt {row}, needs numbers")
    return margin.view(prompts, matches)
