"""The section `reward`: how every reward model is trained."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from westofn.params.base import Count, Default, Fraction, NonNegative
from westofn.params.lora import LoraParams
from westofn.params.network import Readout
from westofn.params.optimiser import OptimiserParams


class RewardModelParams(OptimiserParams):
    """The recipe that base_rm and student_rm share, each of which may give its own values.

    Attributes:
        loss: A name in `westofn.core.losses.LOSSES`, or file:name in `plugins/`.
        loss_margin: The margin, in logits, that the loss `margin` asks of a sure pair.
        label_smoothing: The share of wrong labels that the loss `conservative` expects.
    """

    key: ClassVar[str] = "reward"
    defaults: ClassVar[tuple[Default, ...]] = (
        *OptimiserParams.defaults,
        Default(LoraParams, "lora"),
    )

    loss: Annotated[str, Field(min_length=1)]
    loss_margin: NonNegative
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)]
    lora: LoraParams
    readout: Readout
    dropout: Fraction
    average_decay: Fraction
    runs: Count
    evaluations: Count
    centering: NonNegative
