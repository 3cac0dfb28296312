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
from typing import Literal, get_args

import torch
from torch import Tensor

from westofn.core.comparators import check_square, mean_margin

Selector = Literal["west", "best_random", "random_pair", "best_below"]
SELECTORS: tuple[Selector, ...] = get_args(Selector)

# Distance of the rejected response from the pool's mean, in standard deviations (2502.16825).
_BELOW_STANDARD_DEVIATIONS = 2.0


@dataclass(frozen=True)
class BestWorst:
    """The chosen and the rejected candidate of each prompt.

    Attributes:
        best: int64 (P,), index of the chosen candidate.
        worst: int64 (P,), index of the rejected one; differs from `best` in every row.
        p_best: (P,), the model's own probability that `best` is preferred to `worst`.
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
    n_candidates = margins.shape[-1]
    itself = torch.eye(n_candidates, dtype=torch.bool, device=margins.device)
    # torch.argmax returns the first of equal maxima: row-major order is the rule for ties.
    flat = margins.masked_fill(itself, -torch.inf).flatten(-2).argmax(-1)
    best = torch.div(flat, n_candidates, rounding_mode="floor")
    return _with_probability(margins, best, flat % n_candidates)


def nested_best_worst(margins: Tensor, sizes: Sequence[int]) -> dict[int, BestWorst]:
    """Solves the objective among the first n candidates, for each n of `sizes`.

    One pool thus serves a curve against N: the pools are nested, and p_best never falls with n.

    Args:
        margins: (P, N, N), logits.
        sizes: Pool sizes, each in [2, N], for instance `default_sizes(N)`.

    Returns:
        For each size, `exact_best_worst` of the first `size` candidates.

    Raises:
        ValueError: As `exact_best_worst`, or a size lies outside [2, N].

    >>> pool = torch.tensor([[[0.0, 1.0, 3.0], [-1, 0, 2], [-3, -2, 0]]])
    >>> {n: pair.worst.item() for n, pair in nested_best_worst(pool, (2, 3)).items()}
    {2: 1, 3: 2}
    """
    _check_margins(margins)
    n_candidates = margins.shape[-1]
    for size in sizes:
        if not 2 <= size <= n_candidates:
            raise ValueError(f"a pool size is {size}, needs 2 to {n_candidates} candidates")
    return {size: exact_best_worst(margins[:, :size, :size]) for size in sizes}


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


def select_pairs(margins: Tensor, selector: Selector, uniforms: Tensor | None = None) -> BestWorst:
    """Chooses one ordered pair of each pool.

    - `west`: the West-of-N pair.
    - `best_random`: the same chosen candidate, against a random other one.
    - `random_pair`: two random candidates in the order that the model prefers (the N = 2
      self-training of arXiv 2401.12086); an exact tie prefers the lower index.
    - `best_below`: the same chosen candidate, against the other one whose mean margin is nearest
      to the pool's mean - 2 standard deviations (arXiv 2502.16825); ties to the lowest index.

    Args:
        margins: (P, N, N), logits; element (p, i, j) is the margin of candidate i over j.
        selector: One of `SELECTORS`.
        uniforms: (P, 2) in [0, 1), needed by the two random selectors only; make them from the
            prompt's key (`westofn.core.seeds`), so that a pair does not depend on its batch.

    Returns:
        The pairs, `p_best` being the model's own probability of the pair in that order; of a
        skew-symmetric model never below 0.5, but for `best_random` and `best_below`.

    Raises:
        ValueError: As `exact_best_worst`; an unknown selector; `uniforms` missing or unfit.

    >>> pool = torch.tensor([[[0.0, 1.0, 3.0], [-1, 0, 2], [-3, -2, 0]]])
    >>> pair = select_pairs(pool, "random_pair", torch.tensor([[0.99, 0.6]]))  # 2 against 1
    >>> pair.best.item(), pair.worst.item()
    (1, 2)
    """
    _check_margins(margins)
    if selector not in _SELECT:
        raise ValueError(f"selector is {selector!r}, needs one of {', '.join(SELECTORS)}")
    best, worst = _SELECT[selector](margins, uniforms)
    return _with_probability(margins, best, worst)


def _west(margins: Tensor, _: Tensor | None) -> tuple[Tensor, Tensor]:
    pair = exact_best_worst(margins)
    return pair.best, pair.worst


def _best_random(margins: Tensor, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
    best = exact_best_worst(margins).best
    draws = _check_uniforms(margins, uniforms)
    return best, _another(best, draws[:, 0], margins.shape[-1])


def _random_pair(margins: Tensor, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
    draws = _check_uniforms(margins, uniforms)
    one = _floor(draws[:, 0], margins.shape[-1])
    two = _another(one, draws[:, 1], margins.shape[-1])
    low, high = torch.minimum(one, two), torch.maximum(one, two)
    rows = torch.arange(len(margins), device=margins.device)
    low_wins = margins[rows, low, high] >= margins[rows, high, low]
    return torch.where(low_wins, low, high), torch.where(low_wins, high, low)


def _best_below(margins: Tensor, _: Tensor | None) -> tuple[Tensor, Tensor]:
    best = exact_best_worst(margins).best
    level = mean_margin(margins)
    spread = level.std(-1, correction=0, keepdim=True)
    target = level.mean(-1, keepdim=True) - _BELOW_STANDARD_DEVIATIONS * spread
    distance = (level - target).abs().scatter(-1, best.unsqueeze(-1), torch.inf)
    return best, distance.argmin(-1)


_SELECT: dict[Selector, Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]] = {
    "west": _west,
    "best_random": _best_random,
    "random_pair": _random_pair,
    "best_below": _best_below,
}


def _with_probability(margins: Tensor, best: Tensor, worst: Tensor) -> BestWorst:
    rows = torch.arange(len(margins), device=margins.device)
    return BestWorst(best, worst, torch.sigmoid(margins[rows, best, worst]))


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
    if not torch.isfinite(margins).all():
        row = int((~torch.isfinite(margins)).flatten(1).any(1).nonzero()[0])
        raise ValueError(f"margins of prompt {row} are NaN or infinite, needs finite numbers")


def _check_uniforms(margins: Tensor, uniforms: Tensor | None) -> Tensor:
    needed = (len(margins), 2)
    if uniforms is None or tuple(uniforms.shape) != needed:
        found = "missing" if uniforms is None else f"of shape {tuple(uniforms.shape)}"
        raise ValueError(f"uniforms are {found}, needs {needed} numbers for a random selector")
    if not bool(((uniforms >= 0) & (uniforms < 1)).all()):
        raise ValueError("uniforms leave [0, 1), needs numbers in [0, 1)")
    return uniforms.to(margins.device)
