"""Choosing one pair of each pool: West-of-N and the selectors it is compared with.

West-of-N (Pace et al. 2024, arXiv 2401.12086, Algorithm 1) takes the ordered pair of candidates of
which the base model is surest:

    (y+, y-) = argmax over i != j of P_theta(y_i > y_j | x)

With the margins of all pairs at hand the argmax is exact. P is a sigmoid of the margin, so the
argmax is taken over margins: in float32 the sigmoid is 1 beyond 17, and would tie what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from westofn.core.comparators import check_square, is_finite, mean_margin

Selector = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""(margins (P, N, N), uniforms (P, 2)) -> indices of the chosen and the rejected one, int64 (P,).

The uniforms are in [0, 1) and depend on the prompt alone; `select_pairs` checks the margins before.
"""

# Distance of the rejected response from the pool's mean, in standard deviations (2502.16825).
_BELOW_STANDARD_DEVIATIONS = 2.0

CACHED_MARGINS = 2**17
"""Margins that are looked at together, at most: what stays in a core's cache is read faster."""


@dataclass(frozen=True)
class BestWorst:
    """The chosen and the rejected candidate of each prompt; (P, k) where a prompt has k pairs.

    Attributes:
        best: int64 (P,) or (P, k), index of the chosen candidate.
        worst: The same shape, index of the rejected candidate; differs from `best` in every pair.
        p_best: The same shape, the model's own probability that `best` is preferred to `worst`.
    """

    best: Tensor
    worst: Tensor
    p_best: Tensor


def exact_best_worst(margins: Tensor) -> BestWorst:
    """Solves the West-of-N objective exactly (arXiv 2401.12086, Algorithm 1).

    Ties go to the lowest index of the chosen, then of the rejected candidate, whatever the batch
    or the device. Margins need not be skew-symmetric nor transitive.

    Args:
        margins: (P, N, N), logits; element (p, i, j) is the margin of candidate i over j.

    Raises:
        ValueError: The shape is not (P, N, N) with N >= 2, or a margin is NaN or infinite.

    >>> result = exact_best_worst(torch.tensor([[[0.0, 1.0, 3.0], [-1, 0, 2], [-3, -2, 0]]]))
    >>> result.best.tolist(), result.worst.tolist()
    ([0], [2])
    >>> round(result.p_best.item(), 4)  # sigmoid(3)
    0.9526
    """
    _check_margins(margins)
    return _with_probability(margins, *_first_pair(margins))


@dataclass(frozen=True)
class SubPools:
    """The candidates that may form a pair, of pools that have equally many of them.

    Attributes:
        rows: int64 (G,), the pools.
        places: int64 (G, n), indices of their candidates, ascending.
    """

    rows: Tensor
    places: Tensor

    def margins(self, margins: Tensor) -> Tensor:
        """Returns the margins (G, n, n) of these candidates from all margins (P, N, N)."""
        places = self.places
        return margins[self.rows[:, None, None], places[:, :, None], places[:, None, :]]


def usable_pools(usable: Tensor) -> list[SubPools]:
    """Groups pools by their number of usable candidates, in ascending order.

    A pool with fewer than two usable candidates keeps all of its candidates, so that every pool has
    a pair.

    Args:
        usable: bool (P, N), the candidates that may form a pair.

    >>> groups = usable_pools(torch.tensor([[True, False, True], [False, False, True]]))
    >>> [(group.rows.tolist(), group.places.tolist()) for group in groups]
    [([0], [[0, 2]]), ([1], [[0, 1, 2]])]
    """
    kept = _at_least_two(usable)
    sizes = kept.sum(1)
    groups = []
    for size in sorted(set(sizes.tolist())):
        rows = (sizes == size).nonzero().squeeze(1)
        groups.append(SubPools(rows, kept[rows].nonzero()[:, 1].view(-1, size)))
    return groups


def choose_in_groups(
    groups: Sequence[SubPools], choose: Callable[[SubPools], BestWorst]
) -> BestWorst:
    """Chooses one pair of each pool among the candidates of its group.

    Args:
        groups: Result of `usable_pools`.
        choose: Returns the pairs (G,) of a group, as indices into its places.

    Returns:
        (P,), with indices into the whole pools.
    """
    rows = torch.cat([group.rows for group in groups])
    order, parts = rows.argsort(), [choose(group) for group in groups]

    def whole(name: str) -> Tensor:
        chosen = [
            group.places.gather(1, getattr(part, name).unsqueeze(1)).squeeze(1)
            for group, part in zip(groups, parts, strict=True)
        ]
        return torch.cat(chosen)[order]

    p_best = torch.cat([part.p_best for part in parts])[order]
    return BestWorst(whole("best"), whole("worst"), p_best)


def nested_best_worst(
    margins: Tensor, sizes: Sequence[int], usable: Tensor | None = None
) -> dict[int, BestWorst]:
    """Solves the objective among the first n candidates, for each n of `sizes`.

    One pool thus serves a curve against N: the pools are nested, and p_best does not fall with n
    where all candidates are usable.

    Args:
        margins: (P, N, N), logits.
        sizes: Pool sizes, each in [2, N], for instance `default_sizes(N)`.
        usable: bool (P, N), the candidates that may form a pair, see `usable_pools`; None: all.

    Returns:
        For each size, `exact_best_worst` of the usable ones of the first `size` candidates.

    Raises:
        ValueError: As `exact_best_worst`, or a size lies outside [2, N].

    >>> pool = torch.tensor([[[0.0, 1.0, 3.0], [-1, 0, 2], [-3, -2, 0]]])
    >>> {n: pair.worst.item() for n, pair in nested_best_worst(pool, (2, 3)).items()}
    {2: 1, 3: 2}
    """
    _check_margins(margins)
    _check_sizes(sizes, margins.shape[-1])
    step = max(1, CACHED_MARGINS // margins.shape[-1] ** 2)
    parts = []
    for start in range(0, max(1, len(margins)), step):
        rows = slice(start, start + step)
        parts.append(
            _nested_indices(margins[rows], sizes, None if usable is None else usable[rows])
        )
    nested = {}
    for place, size in enumerate(sizes):
        best, worst = (torch.cat([part[place][side] for part in parts]) for side in (0, 1))
        margin = _margins_of_pairs(margins, best, worst)
        nested[size] = BestWorst(best, worst, _probabilities(margin, _kept(usable, size)))
    return nested


def nested_best_worst_by_rewards(
    rewards: Tensor, sizes: Sequence[int], usable: Tensor | None = None
) -> dict[int, BestWorst]:
    """Solves the objective as `nested_best_worst` for margins that are differences of rewards.

    The result is that of the margins r_i - r_j to the last bit, ties included, without their
    (P, N, N): rounding keeps the order, so the largest margin is the largest reward less the
    smallest, and several rewards may have it.

    Args:
        rewards: (P, N).
        sizes: Pool sizes, each in [2, N].
        usable: bool (P, N), as for `nested_best_worst`.

    Raises:
        ValueError: The shape is not (P, N) with N >= 2, a margin would be NaN or infinite, or a
            size lies outside [2, N].

    >>> pool = torch.tensor([[3.0, 2.0, 0.0]])
    >>> {n: pair.worst.item() for n, pair in nested_best_worst_by_rewards(pool, (2, 3)).items()}
    {2: 1, 3: 2}
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(f"rewards have shape {tuple(rewards.shape)}, needs (prompts, N), N >= 2")
    _check_finite(reward_range(rewards))
    _check_sizes(sizes, rewards.shape[1])
    nested = {}
    for size in sizes:
        first = rewards[:, :size].contiguous()
        kept = _kept(usable, size)
        # NaN is no difference, so candidates that may form no pair have none.
        barred = first if kept is None else first.masked_fill(~kept, torch.nan)
        low = (first if kept is None else first.masked_fill(~kept, torch.inf)).amin(1, True)
        high = (first if kept is None else first.masked_fill(~kept, -torch.inf)).amax(1, True)
        best = _first_true(barred - low == high - low)
        of_best = first.gather(1, best.unsqueeze(1)) - barred
        of_best.scatter_(1, best.unsqueeze(1), torch.nan)
        worst = _first_true(of_best == high - low)
        margin = of_best.gather(1, worst.unsqueeze(1)).squeeze(1)
        nested[size] = BestWorst(best, worst, _probabilities(margin, kept))
    return nested


def reward_range(rewards: Tensor) -> Tensor:
    """Returns the largest difference of the rewards (P, N) of each prompt, (P, 1).

    It is finite where all margins are: a NaN is the largest number, and no margin is beyond it.
    """
    return rewards.amax(1, keepdim=True) - rewards.amin(1, keepdim=True)


def default_sizes(n: int) -> tuple[int, ...]:
    """Returns the powers of two from 2 up to `n`, and `n` itself.

    Raises:
        ValueError: n < 2.

    >>> default_sizes(8), default_sizes(12)
    ((2, 4, 8), (2, 4, 8, 12))
    """
    if n < 2:
        raise ValueError(f"n is {n}, needs at least 2 candidates")
    powers = {2**exponent for exponent in range(1, n.bit_length())}
    return tuple(sorted(powers | {n}))


def select_pairs(
    margins: Tensor, selector: str | Selector, uniforms: Tensor | None = None
) -> BestWorst:
    """Chooses one ordered pair of each pool.

    - `west`: the West-of-N pair.
    - `best_random`: the same chosen candidate, against a random other one.
    - `random_pair`: two random candidates in the order that the model prefers (the N = 2
      self-training of arXiv 2401.12086); an exact tie prefers the lower index.
    - `best_below`: the same chosen candidate, against the other one whose mean margin is nearest
      to the pool's mean - 2 standard deviations (arXiv 2502.16825); ties to the lowest index.
    - `best_median`: the same chosen candidate, against the median of the others by mean margin, the
      better of two middle ones: half as extreme as `west`.
    - `quartiles`: the candidates at the upper and the lower quartile of mean margin.

    Args:
        margins: (P, N, N), logits; element (p, i, j) is the margin of candidate i over j.
        selector: A name in `SELECTORS`, or a function as they are.
        uniforms: (P, 2) in [0, 1), needed by the two random selectors only; make them from the
            prompt's key (`westofn.core.seeds`), so that a pair does not depend on its batch.

    Returns:
        The pairs, `p_best` being the model's own probability of the pair in that order; of a
        skew-symmetric model below 0.5 only where it is intransitive, and never for `west` and
        `random_pair`.

    Raises:
        ValueError: As `exact_best_worst`; an unknown selector; `uniforms` missing or unfit; a
            selector's answer is not a pair of different candidates for each prompt.

    >>> pool = torch.tensor([[[0.0, 1.0, 3.0], [-1, 0, 2], [-3, -2, 0]]])
    >>> pair = select_pairs(pool, "random_pair", torch.tensor([[0.99, 0.6]]))  # 2 against 1
    >>> pair.best.item(), pair.worst.item()
    (1, 2)
    """
    _check_margins(margins)
    if isinstance(selector, str):
        if selector not in SELECTORS:
            raise ValueError(f"selector is {selector!r}, needs one of {', '.join(SELECTORS)}")
        selector = SELECTORS[selector]
    best, worst = selector(margins, uniforms)
    _check_choice(margins, best, worst)
    return _with_probability(margins, best, worst)


def top_bottom_pairs(margins: Tensor, k: int) -> BestWorst:
    """Matches the k best candidates with the k worst: best with worst, second with second worst.

    Candidates are ranked by mean margin, ties by index, the lower one first. No candidate is in two
    pairs of a prompt. Pairs are ordered from the most extreme inwards.

    Args:
        margins: (P, N, N), logits.
        k: Pairs a prompt, 1 to N / 2.

    Returns:
        k pairs a prompt, each tensor (P, k).

    Raises:
        ValueError: As `exact_best_worst`, or k out of range.

    >>> rewards = torch.tensor([2.0, 4.0, 1.0, 3.0, 5.0])
    >>> pairs = top_bottom_pairs((rewards[:, None] - rewards).unsqueeze(0), 2)
    >>> pairs.best.tolist(), pairs.worst.tolist()
    ([[4, 1]], [[2, 0]])
    """
    _check_margins(margins)
    _check_pairs(margins, k)
    ranked = _ranked(margins)
    return _with_probability(margins, ranked[:, :k], ranked.flip(-1)[:, :k])


def random_pairs(margins: Tensor, k: int, uniforms: Tensor) -> BestWorst:
    """Draws k random pairs of each pool, in the order that the model prefers.

    The control of `top_bottom_pairs`: 2k different candidates are drawn one after the other and
    matched as they come; an exact tie prefers the lower index. k = 1 is the selector `random_pair`.

    Args:
        margins: (P, N, N), logits.
        k: Pairs a prompt, 1 to N / 2.
        uniforms: (P, 2k) in [0, 1), made from the prompt's key (`westofn.core.seeds`).

    Returns:
        k pairs a prompt, each tensor (P, k).

    Raises:
        ValueError: As `exact_best_worst`; k out of range; `uniforms` unfit.

    >>> pool = torch.tensor([[[0.0, 1.0, 3.0], [-1, 0, 2], [-3, -2, 0]]])
    >>> pairs = random_pairs(pool, 1, torch.tensor([[0.99, 0.6]]))  # 2 against 1
    >>> pairs.best.tolist(), pairs.worst.tolist()
    ([[1]], [[2]])
    """
    _check_margins(margins)
    _check_pairs(margins, k)
    draws = _check_uniforms(margins, uniforms, 2 * k)
    drawn = _without_replacement(draws, margins.shape[-1])
    return _with_probability(margins, *_preferred(margins, drawn[:, 0::2], drawn[:, 1::2]))


def uncertain_pair(margins: Tensor, confidence: float = 0.75) -> BestWorst:
    """Takes the ordered pair whose probability is nearest to a target confidence.

    Neither the surest pair nor a coin flip: what self-training looks like without selection for
    confidence. Ties go to the lowest index of the chosen, then of the rejected candidate.

    Args:
        margins: (P, N, N), logits.
        confidence: Target of P(chosen > rejected), in (0.5, 1).

    Raises:
        ValueError: As `exact_best_worst`, or a confidence out of range.

    >>> pool = torch.tensor([[[0.0, 1.0, 3.0], [-1, 0, 2], [-3, -2, 0]]])
    >>> pair = uncertain_pair(pool)  # sigmoid(1) is 0.731, sigmoid(2) is 0.881
    >>> pair.best.item(), pair.worst.item()
    (0, 1)
    """
    _check_margins(margins)
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, needs a number in (0.5, 1)")
    # In float64, where a sigmoid is told from 1 up to margins of 36.
    distance = (torch.sigmoid(margins.double()) - confidence).abs()
    return _with_probability(margins, *_first_pair(-distance))


def _west(margins: Tensor, _: Tensor | None) -> tuple[Tensor, Tensor]:
    pair = exact_best_worst(margins)
    return pair.best, pair.worst


def _best_random(margins: Tensor, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
    best = exact_best_worst(margins).best
    draws = _check_uniforms(margins, uniforms)
    return best, _another(best, draws[:, 0], margins.shape[-1])


def _random_pair(margins: Tensor, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
    draws = _check_uniforms(margins, uniforms)
    first = _floor(draws[:, 0], margins.shape[-1])
    second = _another(first, draws[:, 1], margins.shape[-1])
    return _preferred(margins, first, second)


def _best_below(margins: Tensor, _: Tensor | None) -> tuple[Tensor, Tensor]:
    best = exact_best_worst(margins).best
    level = mean_margin(margins)
    spread = level.std(-1, correction=0, keepdim=True)
    target = level.mean(-1, keepdim=True) - _BELOW_STANDARD_DEVIATIONS * spread
    distance = (level - target).abs().scatter(-1, best.unsqueeze(-1), torch.inf)
    return best, distance.argmin(-1)


def _best_median(margins: Tensor, _: Tensor | None) -> tuple[Tensor, Tensor]:
    best = exact_best_worst(margins).best
    # The best goes last, whatever its mean margin, so that the others hold ranks 0 to N - 2.
    level = mean_margin(margins).scatter(-1, best.unsqueeze(-1), -torch.inf)
    return best, _by_rank(level)[:, (margins.shape[-1] - 2) // 2]


def _quartiles(margins: Tensor, _: Tensor | None) -> tuple[Tensor, Tensor]:
    rank = margins.shape[-1] // 4  # is (N - 1) / 4 rounded to the nearest, halves outwards
    ranked = _ranked(margins)
    return ranked[:, rank], ranked[:, -1 - rank]


SELECTORS: dict[str, Selector] = {
    "west": _west,
    "best_random": _best_random,
    "random_pair": _random_pair,
    "best_below": _best_below,
    "best_median": _best_median,
    "quartiles": _quartiles,
}
"""The selectors by the names that `won_select.selector` takes."""


def _with_probability(margins: Tensor, best: Tensor, worst: Tensor) -> BestWorst:
    return BestWorst(best, worst, torch.sigmoid(_margins_of_pairs(margins, best, worst)))


def _margins_of_pairs(margins: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Margins of candidates a over b, both (P,) or (P, k), in their shape."""
    rows = torch.arange(len(margins), device=margins.device)
    return margins[rows.view(-1, *[1] * (a.ndim - 1)), a, b]


def _first_pair(values: Tensor) -> tuple[Tensor, Tensor]:
    """The first of the largest off-diagonal elements of each (N, N): its row and column, (P,)."""
    return _first_of_largest(_without_diagonal(values))


def _nested_indices(
    margins: Tensor, sizes: Sequence[int], usable: Tensor | None
) -> list[tuple[Tensor, Tensor]]:
    """The pair among the first n candidates, for each n of `sizes`."""
    others = _without_diagonal(margins)
    if usable is None or bool(usable.all()):
        return [_first_of_largest(others[:, :size, :size]) for size in sizes]
    pairs = []
    for size in sizes:
        kept = _at_least_two(usable[:, :size])
        barred = ~(kept.unsqueeze(2) & kept.unsqueeze(1))
        pairs.append(_first_of_largest(others[:, :size, :size].masked_fill(barred, -torch.inf)))
    return pairs


def _kept(usable: Tensor | None, size: int) -> Tensor | None:
    """Which of the first candidates may form a pair, bool (P, size); None: all."""
    return None if usable is None else _at_least_two(usable[:, :size])


def _at_least_two(usable: Tensor) -> Tensor:
    """The usable candidates (P, n) of each pool; all of a pool that has fewer than two."""
    return usable | (usable.sum(1, keepdim=True) < 2)


def _probabilities(margins: Tensor, kept: Tensor | None) -> Tensor:
    """The sigmoid of one margin a pool, (P,), of pools alike in number of candidates at a time.

    torch computes the last elements of a vector by other instructions than those before, and the
    two differ in the last bit. `choose_in_groups` divides pools in this way, so all pairs have the
    probabilities that it gives.
    """
    counts = None if kept is None else kept.sum(1)
    if counts is None or not len(counts) or bool((counts == counts[0]).all()):
        return torch.sigmoid(margins)
    p_best = torch.empty_like(margins)
    for count in set(counts.tolist()):
        rows = counts == count
        p_best[rows] = torch.sigmoid(margins[rows])
    return p_best


def _without_diagonal(values: Tensor) -> Tensor:
    """A copy of (P, N, N) whose diagonal is minus infinity."""
    others = values.clone()
    others.diagonal(dim1=-2, dim2=-1).fill_(-torch.inf)
    return others


def _first_of_largest(values: Tensor) -> tuple[Tensor, Tensor]:
    """The first in row-major order of the largest elements of each (N, N): row and column, (P,)."""
    # torch.argmax returns the first of equal maxima. Maxima of rows take a fifth of its time.
    row = values.amax(-1).argmax(-1)
    return row, values[torch.arange(len(values), device=values.device), row].argmax(-1)


def _first_true(values: Tensor) -> Tensor:
    """The index of the first true element of each row, (P,)."""
    return values.to(torch.uint8).argmax(-1)


def _preferred(margins: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs (P,) or (P, k) in the order that the model prefers; a tie prefers the lower index."""
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    low_wins = _margins_of_pairs(margins, low, high) >= _margins_of_pairs(margins, high, low)
    return torch.where(low_wins, low, high), torch.where(low_wins, high, low)


def _ranked(margins: Tensor) -> Tensor:
    """Candidates by mean margin, largest first, ties by index; int64 (P, N)."""
    return _by_rank(mean_margin(margins))


def _by_rank(level: Tensor) -> Tensor:
    return level.argsort(dim=-1, descending=True, stable=True)


def _without_replacement(uniforms: Tensor, count: int) -> Tensor:
    """Draws different indices in [0, count), one for each of (P, columns); int64."""
    left = torch.ones(len(uniforms), count, dtype=torch.bool, device=uniforms.device)
    drawn = torch.empty(uniforms.shape, dtype=torch.int64, device=uniforms.device)
    for column in range(uniforms.shape[1]):
        place = _floor(uniforms[:, column], count - column)
        # The first index up to which more than `place` are left is the one at that place.
        drawn[:, column] = (left.cumsum(-1) > place.unsqueeze(-1)).long().argmax(-1)
        left.scatter_(-1, drawn[:, column : column + 1], False)
    return drawn


def _floor(uniform: Tensor, count: int) -> Tensor:
    """Maps a uniform number (P,) to an index in [0, count)."""
    # No clamp: the product of a float below 1 and a whole number rounds to less than that number.
    return (uniform * count).long()


def _another(taken: Tensor, uniform: Tensor, count: int) -> Tensor:
    """Draws an index in [0, count) other than `taken`, each of the others equally likely."""
    index = _floor(uniform, count - 1)
    return index + (index >= taken).long()


def _check_margins(margins: Tensor) -> None:
    if margins.ndim != 3:
        raise ValueError(f"margins have shape {tuple(margins.shape)}, needs (prompts, N, N)")
    check_square(margins)
    _check_finite(margins)


def _check_finite(margins: Tensor) -> None:
    lost = ~is_finite(margins)
    if bool(lost.any()):
        row = int(lost.nonzero()[0])
        raise ValueError(f"margins of prompt {row} are NaN or infinite, needs finite numbers")


def _check_sizes(sizes: Sequence[int], n_candidates: int) -> None:
    for size in sizes:
        if not 2 <= size <= n_candidates:
            raise ValueError(f"a pool size is {size}, needs 2 to {n_candidates} candidates")


def _check_choice(margins: Tensor, best: Tensor, worst: Tensor) -> None:
    count = margins.shape[-1]
    for indices in (best, worst):
        if tuple(indices.shape) != (len(margins),) or indices.dtype != torch.int64:
            shape = tuple(indices.shape)
            raise ValueError(
                f"a selector gave {indices.dtype} indices of shape {shape}, needs int64 "
                f"({len(margins)},): one candidate a prompt"
            )
        if not bool(((indices >= 0) & (indices < count)).all()):
            raise ValueError(f"a selector gave an index that is not in 0 to {count - 1}")
    if bool((best == worst).any()):
        raise ValueError("a selector chose and rejected the same candidate, needs two")


def _check_pairs(margins: Tensor, k: int) -> None:
    most = margins.shape[-1] // 2
    if not 1 <= k <= most:
        raise ValueError(f"k is {k}, needs 1 to {most} pairs of {margins.shape[-1]} candidates")


def _check_uniforms(margins: Tensor, uniforms: Tensor | None, count: int = 2) -> Tensor:
    needed = (len(margins), count)
    if uniforms is None or tuple(uniforms.shape) != needed:
        given = "missing" if uniforms is None else f"of shape {tuple(uniforms.shape)}"
        raise ValueError(f"uniforms are {given}, needs {needed} numbers for a random selector")
    if not bool(((uniforms >= 0) & (uniforms < 1)).all()):
        raise ValueError("uniforms leave [0, 1), needs numbers in [0, 1)")
    return uniforms.to(margins.device)
