"""A loss and a selector of one's own: `student_rm.loss: example:hinge`.

And `won_select.selector: example:best_second_worst`. A file in this folder is all that it takes;
the stages whose parameters name it depend on it.
"""

from __future__ import annotations

from torch import Tensor

from westofn.core.comparators import mean_margin
from westofn.core.losses import Loss, LossSettings


def _hinge(margin: Tensor, p_chosen: Tensor, settings: LossSettings) -> Tensor:
    """max(0, loss_margin - margin), the mean over the batch weighted by how sure a label is."""
    return (p_chosen * (settings.loss_margin - margin).clamp_min(0)).mean()


hinge = Loss(_hinge, reads_confidence=True)


def best_second_worst(margins: Tensor, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
    """The best candidate by mean margin, against the last but one, or the last of a pair."""
    ranked = mean_margin(margins).argsort(dim=-1, descending=True, stable=True)
    return ranked[:, 0], ranked[:, max(1, margins.shape[-1] - 2)]
