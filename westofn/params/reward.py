"""How every reward model is trained."""

from __future__ import annotations

from westofn.params.base import Count, Fraction, NonNegative
from westofn.params.lora import LoraParams
from westofn.params.network import Readout
from westofn.params.optimiser import OptimiserParams


class RewardModelParams(OptimiserParams):
    """What base_rm, student_rm and reference_rm share: one training function, one recipe."""

    lora: LoraParams
    readout: Readout
    dropout: Fraction
    average_decay: Fraction
    runs: Count
    evaluations: Count
    centering: NonNegative
