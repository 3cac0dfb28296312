"""The section `optimiser`, and what every section that trains a model with it has."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from westofn.params.base import Count, Default, Fraction, NonNegative, Positive, Section


class AdamParams(Section):
    """AdamW, and the norm to which gradients are clipped."""

    adam_beta1: Fraction
    adam_beta2: Fraction
    adam_epsilon: Positive
    max_gradient_norm: Positive


class SharedOptimiserParams(AdamParams):
    """What supervised fine-tuning and reward models share, and RL but for the schedule.

    Attributes:
        schedule: Course of the learning rate after its linear warm-up: to zero, or constant.
    """

    key: ClassVar[str] = "optimiser"

    schedule: Literal["cosine", "linear", "constant"]


class OptimiserParams(SharedOptimiserParams):
    """A training with AdamW and linear warm-up; the batch is the global one."""

    key: ClassVar[str] = ""
    defaults: ClassVar[tuple[Default, ...]] = (Default(SharedOptimiserParams),)

    steps: Count
    batch_size: Annotated[int, Field(ge=2, multiple_of=2)]
    learning_rate: Positive
    warmup_fraction: Fraction
    weight_decay: NonNegative
