"""The section `reward`: how every reward model is trained."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from westofn.params.base import Count, Default, Fraction, NonNegative
from westofn.params.lora import LoraParams
from westofn.params.network import Readout
from westofn.params.optimiser import OptimiserParams

Learner = Literal["network", "linear_head"]


class RewardModelParams(OptimiserParams):
    """The recipe that base_rm and student_rm share, each of which may give its own values.

    Attributes:
        learner: What learns: a network, or a linear head on the frozen features of the weights that
            the network would start from. The autorater has that of the section `reward`.
        head_start: Where a network's head starts: `zero`, or at the linear head that is fitted to
            the frozen features of the training pairs.
        loss: A name in `westofn.core.losses.LOSSES`, or file:name in `plugins/`.
        loss_margin: The margin, in logits, that the loss `margin` asks of a sure pair.
        label_smoothing: The share of wrong labels that the loss `conservative` expects.
    """

    key: ClassVar[str] = "reward"
    defaults: ClassVar[tuple[Default, ...]] = (
        *OptimiserParams.defaults,
        Default(LoraParams, "lora"),
    )

    learner: Learner
    head_start: Literal["zero", "linear_head"]
    loss: Annotated[str, Field(min_length=1)]
    loss_margin: NonNegative
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)]
    lora: LoraParams
    readout: Readout
    dropout: Fraction
    average_decay: Fraction
    runs: Count
    evaluations: Count
    validation_pairs: Count
    centering: NonNegative

    @model_validator(mode="after")
    def _linear_heads_have_no_adapters(self) -> Self:
        if self.learner == "linear_head" and self.lora.rank:
            raise ValueError(
                f"lora.rank is {self.lora.rank} and learner is linear_head, which trains no weight "
                f"of the network; set {self.key}.lora.rank to 0, or {self.key}.learner to network"
            )
        return self
