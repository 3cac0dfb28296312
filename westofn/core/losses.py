"""Losses of preference models, on margins and rewards."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry_loss(margin: Tensor, p_chosen: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of the preferences, E[-log sigmoid(r(x, y+) - r(x, y-))].

    Ouyang et al. 2022 (InstructGPT, arXiv 2203.02155), Eq. 1 with one pair a prompt. With soft
    labels it is their cross-entropy, -p log sigmoid(m) - (1 - p) log sigmoid(-m), whose minimum is
    at m = logit(p) and not at infinity.

    Args:
        margin: (batch,), logits of chosen over rejected.
        p_chosen: (batch,) in [0, 1], probability that the label is right; None is 1.

    Returns:
        A scalar, nats, mean over the batch.

    Raises:
        ValueError: An empty batch, different shapes, or `p_chosen` outside [0, 1].

    >>> import torch
    >>> round(bradley_terry_loss(torch.zeros(3)).item(), 4)  # log 2
    0.6931
    """
    _check_batch(margin)
    if p_chosen is None:
        return -logsigmoid(margin).mean()
    _check_same("margin", margin, "p_chosen", p_chosen)
    if not bool(((p_chosen >= 0) & (p_chosen <= 1)).all()):
        raise ValueError("p_chosen has values that are no probabilities, needs [0, 1]")
    p = p_chosen.to(margin.dtype)
    return -(p * logsigmoid(margin) + (1 - p) * logsigmoid(-margin)).mean()


def centering_penalty(reward_chosen: Tensor, reward_rejected: Tensor) -> Tensor:
    """Holds rewards near zero, E[(r(x, y+) + r(x, y-))^2], since margins leave them free to drift.

    Eisenstein et al. 2023, "Helping or herding?" (arXiv 2312.09244); to be weighted by a small
    factor, usually 0.01, and added to the Bradley-Terry loss.

    Args:
        reward_chosen: (batch,).
        reward_rejected: (batch,).

    Returns:
        A scalar, squared rewards, mean over the batch.

    Raises:
        ValueError: An empty batch, or different shapes.

    >>> import torch
    >>> centering_penalty(torch.tensor([1.0, 3.0]), torch.tensor([1.0, -3.0])).item()
    2.0
    """
    _check_batch(reward_chosen)
    _check_same("reward_chosen", reward_chosen, "reward_rejected", reward_rejected)
    return (reward_chosen + reward_rejected).square().mean()


def _check_batch(values: Tensor) -> None:
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"a batch of shape {tuple(values.shape)}, needs (batch,), not empty")


def _check_same(name: str, values: Tensor, other_name: str, other: Tensor) -> None:
    if values.shape != other.shape:
        found = f"{name} {tuple(values.shape)}, {other_name} {tuple(other.shape)}"
        raise ValueError(f"shapes differ: {found}; needs one shape")
