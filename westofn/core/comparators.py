"""How two responses are compared: three comparators, their table, and margins of pairs and pools.

A reward model reads rows of a prompt and what follows it, and its head gives numbers for each row.
A comparator says what the rows of a pair are, and what margin the head's numbers give:

| comparator | rows of a pair (a, b) | head's outputs | margin of a over b |
|---|---|---|---|
| `pointwise` | a; b | r | r_a - r_b (Bradley-Terry) |
| `embedding` | a; b | r, u, w | the general preference model, below |
| `joint` | a then b; b then a | one number | half the difference of both rows |

The general preference model is that of Zhang et al., "Beyond Bradley-Terry models: a general
preference model for language model alignment" (ICML 2025, arXiv 2410.02197). A response y is
embedded once, as features [r, u_1 .. u_L, w_1 .. w_L]; two responses are compared by

    margin(a, b) = r_a - r_b + sum_l (u_a,l w_b,l - w_a,l u_b,l),    P(a > b) = sigmoid(margin)

It is skew-symmetric, may be intransitive, and is Bradley-Terry when L = 0. All N(N - 1) comparisons
of a pool cost N embeddings and two matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Compare = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`compare(prompt_index, a, b)`: three int64 vectors (K,) -> margins (K,) of candidate a over b."""


class PoolReader(Protocol):
    """What a reward model's head says of P pools of N candidates."""

    @property
    def shape(self) -> tuple[int, int]:
        """P and N."""

    def responses(self) -> Tensor:
        """Reads each candidate once: (P, N, F)."""

    def both_orders(self, prompt: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Reads two candidates in one row, "a then b" and "b then a": (K, 2, F).

        Args:
            prompt: int64 (K,), index of the pool.
            a: int64 (K,), index of a candidate.
            b: int64 (K,), index of another.
        """


class Comparator:
    """How a reward model compares two responses.

    What the methods do here reads each response once and compares by the general preference model.

    Attributes:
        name: The comparator's, in `params.yaml` and in a model's card.
        reads_pairs: Whether a row holds both responses, so that every comparison costs two forward
            passes; otherwise a pool costs one for each candidate.
        gives_rewards: Whether the margin is the difference of two rewards, so that a response has
            a reward of its own.
    """

    name: str
    reads_pairs = False
    gives_rewards = False

    @property
    def responses_a_row(self) -> int:
        """Responses behind the prompt in one row."""
        return 2 if self.reads_pairs else 1

    def head_width(self, planes: int) -> int:
        """Numbers that the head gives for a row, of which the first is called the reward.

        Args:
            planes: L; only `embedding` has planes.
        """
        return 1

    def rows(self, a: list[int], b: list[int]) -> tuple[list[int], list[int]]:
        """The two rows of a pair, from the ids of its responses."""
        return a, b

    def margin(self, outputs: Tensor) -> Tensor:
        """Margins of pairs, logits (...), from the head's outputs of their two rows (..., 2, F)."""
        return pair_margin(outputs[..., 0, :], outputs[..., 1, :])

    def compare(self, pools: PoolReader) -> Compare:
        """A function that gives the margins of any pairs of candidates."""
        features = pools.responses()

        def compare(prompt: Tensor, a: Tensor, b: Tensor) -> Tensor:
            return self.margin(torch.stack((features[prompt, a], features[prompt, b]), -2))

        return compare

    def margins(self, pools: PoolReader) -> Tensor:
        """Margins of every ordered pair, (P, N, N)."""
        return margins(pools.responses())

    def forward_passes(self, candidates: int, comparisons: int) -> int:
        """Forward passes for one pool of N candidates, of which so many pairs are compared."""
        return 2 * comparisons if self.reads_pairs else candidates


class Pointwise(Comparator):
    """A reward of each response, and their difference: Bradley-Terry."""

    name = "pointwise"
    gives_rewards = True


class Embedding(Comparator):
    """Features of each response, compared by the general preference model (arXiv 2410.02197)."""

    name = "embedding"

    def head_width(self, planes: int) -> int:
        """A reward, and two numbers for each plane."""
        return 1 + 2 * planes


class Joint(Comparator):
    """Both responses in one row, in both orders: the paper's cross-encoder (arXiv 2401.12086)."""

    name = "joint"
    reads_pairs = True

    def rows(self, a: list[int], b: list[int]) -> tuple[list[int], list[int]]:
        """Both orders of the pair."""
        return a + b, b + a

    def margin(self, outputs: Tensor) -> Tensor:
        """Half the difference of both orders, which changes sign exactly when a and b swap."""
        return (outputs[..., 0, 0] - outputs[..., 1, 0]) / 2

    def compare(self, pools: PoolReader) -> Compare:
        """Reads both orders of the pairs that are asked for."""

        def compare(prompt: Tensor, a: Tensor, b: Tensor) -> Tensor:
            return self.margin(pools.both_orders(prompt, a, b))

        return compare

    def margins(self, pools: PoolReader) -> Tensor:
        """Reads both orders of every pair, N (N - 1) rows a pool."""
        return margins_by_pairs(self.compare(pools), *pools.shape)


COMPARATORS: dict[str, Comparator] = {
    comparator.name: comparator for comparator in (Embedding(), Joint(), Pointwise())
}
"""The comparators by the names that `base_rm.comparator` takes."""


def margins_by_pairs(compare: Compare, n_prompts: int, n_candidates: int) -> Tensor:
    """Margins of every ordered pair, (P, N, N), from those of each pair in one order.

    Args:
        compare: See `Compare`; it is called once, for all pairs with a < b.
        n_prompts: P.
        n_candidates: N.
    """
    a, b = torch.triu_indices(n_candidates, n_candidates, 1)
    prompt = torch.arange(n_prompts).repeat_interleave(len(a))
    half = compare(prompt, a.repeat(n_prompts), b.repeat(n_prompts))
    square = half.new_zeros(n_prompts, n_candidates, n_candidates)
    square[:, a, b] = half.view(n_prompts, -1)
    return square - square.transpose(1, 2)


def pair_margin(a: Tensor, b: Tensor) -> Tensor:
    """Compares responses one to one.

    Args:
        a: Features (..., 1 + 2L).
        b: Features (..., 1 + 2L), broadcastable against `a`.

    Returns:
        Margins (...), logits; `pair_margin(a, b) == -pair_margin(b, a)` exactly.

    Raises:
        ValueError: The number of features is even, or differs between `a` and `b`.

    >>> import torch
    >>> a, b = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 4.0, 5.0])
    >>> pair_margin(a, b)  # 1 - 0.5 + (2 * 5 - 3 * 4)
    tensor(-1.5000)
    """
    planes = _n_planes(a)
    if _n_planes(b) != planes:
        raise ValueError(f"features number {a.shape[-1]} and {b.shape[-1]}, needs the same number")
    reward = a[..., 0] - b[..., 0]
    if planes == 0:
        return reward
    forth = (a[..., 1 : 1 + planes] * b[..., 1 + planes :]).sum(-1)
    back = (b[..., 1 : 1 + planes] * a[..., 1 + planes :]).sum(-1)
    return reward + (forth - back)


def margins(features: Tensor) -> Tensor:
    """Compares all candidates of a pool with each other.

    Args:
        features: (..., N, 1 + 2L).

    Returns:
        (..., N, N): element (i, j) is the margin, a logit, of candidate i over j. Exactly
        skew-symmetric in floating point too; the diagonal is zero.

    Raises:
        ValueError: The number of features is even, or there is no axis of candidates.

    >>> import torch
    >>> margins(torch.tensor([[1.0], [3.0]])).tolist()  # one feature: Bradley-Terry
    [[0.0, -2.0], [2.0, 0.0]]
    """
    planes = _n_planes(features)
    if features.ndim < 2:
        raise ValueError(f"features have shape {tuple(features.shape)}, needs (..., N, 1 + 2L)")
    reward = features[..., 0]
    difference = reward.unsqueeze(-1) - reward.unsqueeze(-2)
    if planes == 0:
        return difference
    cross = features[..., 1 : 1 + planes] @ features[..., 1 + planes :].transpose(-1, -2)
    return difference + (cross - cross.transpose(-1, -2))


def mean_margin(margins: Tensor) -> Tensor:
    """Averages each candidate's margin over the others.

    Args:
        margins: (..., N, N), N >= 2.

    Returns:
        (..., N), logits. With Bradley-Terry margins, N / (N - 1) times the reward less the pool's
        mean: the same order, and distances in proportion.

    Raises:
        ValueError: The last two axes are not (N, N), or N < 2.

    >>> import torch
    >>> mean_margin(torch.tensor([[0.0, 1.0, 3.0], [-1.0, 0.0, 2.0], [-3.0, -2.0, 0.0]])).tolist()
    [2.0, 0.5, -2.5]
    """
    check_square(margins)
    total = margins.sum(-1) - margins.diagonal(dim1=-2, dim2=-1)
    return total / (margins.shape[-1] - 1)


def lower_confidence_margins(member_margins: Tensor, weight: float) -> Tensor:
    """Is pessimistic where the members of an ensemble disagree.

    mean - weight * standard deviation over the members, for each ordered pair (after the
    uncertainty-weighted objective of Coste et al. 2023, arXiv 2310.02743, which has the variance).
    Not skew-symmetric once weight > 0: i over j and j over i can both be doubtful.

    Args:
        member_margins: (members, ..., N, N), logits.
        weight: >= 0, in standard deviations; 0 is the ensemble's mean.

    Returns:
        (..., N, N), for `selection` to choose from.

    Raises:
        ValueError: There is no member, or the weight is negative.

    >>> import torch
    >>> members = torch.tensor([[[0.0, 1.0], [-1.0, 0.0]], [[0.0, 3.0], [-3.0, 0.0]]])
    >>> lower_confidence_margins(members, weight=1.0).tolist()  # 2 - 1 and -2 - 1
    [[0.0, 1.0], [-3.0, 0.0]]
    """
    check_square(member_margins)
    if member_margins.ndim < 3 or len(member_margins) == 0:
        shape = tuple(member_margins.shape)
        raise ValueError(f"member_margins have shape {shape}, needs (members, ..., N, N)")
    if not weight >= 0:
        raise ValueError(f"weight is {weight}, needs a number >= 0")
    if len(member_margins) == 1:  # which has no deviation
        return member_margins[0]
    if weight == 0:
        return member_margins.mean(0)
    return member_margins.mean(0) - weight * member_margins.std(0, correction=0)


def check_square(margins: Tensor) -> None:
    """Raises ValueError unless the last two axes are (N, N) with N >= 2."""
    shape = tuple(margins.shape)
    if margins.ndim < 2 or shape[-1] != shape[-2] or shape[-1] < 2:
        raise ValueError(f"margins have shape {shape}, needs (..., N, N) with N >= 2")


def is_finite(margins: Tensor) -> Tensor:
    """Returns whether all numbers of each prompt are finite: (P, ...) -> bool (P,).

    Extremes are as good as all numbers, since a NaN is the largest and the smallest; they are found
    several times as fast.
    """
    flat = margins.flatten(1)
    return flat.amax(1).isfinite() & flat.amin(1).isfinite()


def _n_planes(features: Tensor) -> int:
    """Reads L off a last axis of 1 + 2L features."""
    count = features.shape[-1] if features.ndim else 0
    if count % 2 == 0:
        raise ValueError(f"features number {count}, needs 1 + 2L: a reward and L pairs (u, w)")
    return (count - 1) // 2
