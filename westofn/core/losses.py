"""Losses of preference models, on margins and rewards, and the table that parameters choose from.

Every loss reads the margin of each pair, a logit of chosen over rejected, and `p_chosen`, the
probability that the label is right. Their settings are in `LossSettings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

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
    if p_chosen is None:
        _check_batch(margin)
        return -logsigmoid(margin).mean()
    _check_labels(margin, p_chosen)
    p = p_chosen.to(margin.dtype)
    return -(p * logsigmoid(margin) + (1 - p) * logsigmoid(-margin)).mean()


Labels = TypeVar("Labels", float, Tensor)


@dataclass(frozen=True)
class LossSettings:
    """Numbers of the losses; each is read by the loss that it names.

    Attributes:
        loss_margin: The margin that `margin` asks of a pair that is sure, in logits, >= 0.
        label_smoothing: The share of wrong labels that `conservative` expects, in [0, 0.5).
    """

    loss_margin: float = 1.0
    label_smoothing: float = 0.1


def margin_loss(margin: Tensor, p_chosen: Tensor, settings: LossSettings) -> Tensor:
    """Asks a larger margin of pairs that the labeller is surer of, E[-log sigmoid(margin - m)].

    Touvron et al. 2023 (Llama 2, arXiv 2307.09288), Eq. 2. There m is a step function of a rating
    in four grades, from "negligibly better" to "significantly better". Here the labeller's
    confidence takes the rating's place: m = loss_margin * (2 p_chosen - 1), which is 0 for a coin
    flip and `loss_margin` for a sure label.

    Args:
        margin: (batch,), logits of chosen over rejected.
        p_chosen: (batch,) in [0, 1].
        settings: Reads `loss_margin`.

    Returns:
        A scalar, nats, mean over the batch.

    Raises:
        ValueError: As `bradley_terry_loss`.

    >>> import torch
    >>> sure = torch.tensor([1.0])
    >>> settings = LossSettings(loss_margin=2.0)
    >>> round(margin_loss(torch.tensor([2.0]), sure, settings).item(), 4)  # log 2
    0.6931
    """
    _check_labels(margin, p_chosen)
    asked = settings.loss_margin * (2 * p_chosen.to(margin.dtype) - 1)
    return -logsigmoid(margin - asked).mean()


def smoothed_labels(p_chosen: Labels, settings: LossSettings) -> Labels:
    """Targets of `conservative`: of labels of which a share e is flipped, p (1 - e) + (1 - p) e.

    Mitchell 2023, "A note on DPO with noisy preferences & relationship to IPO" (conservative DPO):
    -(1 - e) log sigmoid(margin) - e log sigmoid(-margin), least at a margin of log((1 - e) / e).

    Args:
        p_chosen: In [0, 1], a number or a tensor.
        settings: Reads `label_smoothing`.

    >>> smoothed_labels(1.0, LossSettings(label_smoothing=0.25))
    0.75
    """
    flipped = settings.label_smoothing
    return p_chosen * (1 - flipped) + (1 - p_chosen) * flipped


LossFunction = Callable[[Tensor, Tensor, LossSettings], Tensor]
"""(margin, p_chosen, settings) -> a scalar, the mean over the batch."""


class Targets(Protocol):
    """(p_chosen, settings) -> the probabilities that a cross-entropy takes as its targets."""

    def __call__(self, p_chosen: Labels, settings: LossSettings, /) -> Labels:
        """Both are numbers, or tensors of one shape."""


@dataclass(frozen=True)
class Loss:
    """An entry of `LOSSES`.

    Attributes:
        function: The loss of a batch.
        reads_confidence: Whether `p_chosen` is the labeller's probability; otherwise labels are
            hard, and `p_chosen` is 1.
        targets: Where the loss is the Bradley-Terry cross-entropy with other targets, these
            targets: a linear head is fitted to them. None for any other loss.
    """

    function: LossFunction
    reads_confidence: bool = False
    targets: Targets | None = None

    @classmethod
    def cross_entropy(cls, targets: Targets, *, reads_confidence: bool = False) -> Loss:
        """The Bradley-Terry cross-entropy with these targets."""

        def function(margin: Tensor, p_chosen: Tensor, settings: LossSettings) -> Tensor:
            return bradley_terry_loss(margin, targets(p_chosen, settings))

        return cls(function, reads_confidence, targets)


def _as_given(p_chosen: Labels, _: LossSettings) -> Labels:
    return p_chosen


LOSSES = {
    "bradley_terry": Loss.cross_entropy(_as_given),
    "soft": Loss.cross_entropy(_as_given, reads_confidence=True),
    "conservative": Loss.cross_entropy(smoothed_labels),
    "margin": Loss(margin_loss, reads_confidence=True),
}
"""The losses by the names that `reward.loss` takes.

- `bradley_terry`: hard labels.
- `soft`: the labeller's probability is the target.
- `conservative`: hard labels of which a share is expected to be wrong, `smoothed_labels`.
- `margin`: surer pairs are to be further apart, `margin_loss`.
"""


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


def _check_labels(margin: Tensor, p_chosen: Tensor) -> None:
    _check_batch(margin)
    _check_same("margin", margin, "p_chosen", p_chosen)
    if not bool(((p_chosen >= 0) & (p_chosen <= 1)).all()):
        raise ValueError("p_chosen has values that are no probabilities, needs [0, 1]")


def _check_batch(values: Tensor) -> None:
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"a batch of shape {tuple(values.shape)}, needs (batch,), not empty")


def _check_same(name: str, values: Tensor, other_name: str, other: Tensor) -> None:
    if values.shape != other.shape:
        shapes = f"{name} {tuple(values.shape)}, {other_name} {tuple(other.shape)}"
        raise ValueError(f"shapes differ: {shapes}; needs one shape")
