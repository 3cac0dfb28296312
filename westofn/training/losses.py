"""The loss that a section of parameters asks for."""

from __future__ import annotations

from westofn.core.losses import LOSSES, Loss, LossSettings, Targets
from westofn.errors import ParameterError
from westofn.params.reward import RewardModelParams
from westofn.plugins import entry_of


def loss_of(params: RewardModelParams, section: str) -> Loss:
    """The loss that a recipe names.

    Args:
        params: The recipe.
        section: The recipe's name, for errors.

    Raises:
        ParameterError: There is no such loss.
    """
    entry = entry_of(LOSSES, params.loss, f"{section}.loss")
    if not isinstance(entry, Loss):
        raise ParameterError(
            f"{section}.loss is {params.loss!r}, a {type(entry).__name__}; needs a Loss of "
            "westofn.core.losses"
        )
    return entry


def loss_settings(params: RewardModelParams) -> LossSettings:
    """The numbers of the losses."""
    return LossSettings(params.loss_margin, params.label_smoothing)


def targets_of(loss: Loss, params: RewardModelParams, section: str) -> Targets:
    """The targets of a cross-entropy, to which a linear head is fitted.

    Args:
        loss: The loss that the recipe names.
        params: The recipe.
        section: The recipe's name, for errors.

    Raises:
        ParameterError: The loss is no cross-entropy.
    """
    if loss.targets is None:
        fit = ", ".join(name for name, entry in LOSSES.items() if entry.targets)
        raise ParameterError(
            f"{section}.loss is {params.loss!r}, and a linear head is fitted to the targets of a "
            f"cross-entropy; use {fit}, or set {params.key}.learner to network"
        )
    return loss.targets


def require_losses(base: RewardModelParams, student: RewardModelParams) -> None:
    """Check that the losses are there, and that linear heads can be fitted to theirs.

    Args:
        base: The section `base_rm`.
        student: The section `student_rm`.

    Raises:
        ParameterError: One is not.
    """
    for section in (base, student):
        loss = loss_of(section, section.key)
        if section.learner == "linear_head":
            targets_of(loss, section, section.key)
