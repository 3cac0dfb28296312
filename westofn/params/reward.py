"""The section `reward`: how every reward model is trained."""

from __future__ import annotations

from typing import ClassVar

from westofn.params.base import Count, Default, Fraction, NonNegative
from westofn.params.lora import LoraParams
from westofn.params.network import Readout
from westofn.params.optimiser import OptimiserParams


class RewardModelParams(OptimiserParams):
    """The recipe that base_rm and student_rm share, each of which may give its own values."""

    key: ClassVar[str] = "reward"
    defaults: ClassVar[tuple[Default, ...]] = (
        *OptimiserParams.defaults,
        Default(LoraParams, "lora"),
    )

    lora: LoraParams
    readout: Readout
    dropout: Fraction
    average_decay: Fraction
    runs: Count
    evaluations: Count
    centering: NonNegative
