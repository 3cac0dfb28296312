"""The section `rlhf`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from westofn.params.base import Count, Default, Fraction, NonNegative, Positive, Share
from westofn.params.lora import AdapterParams, LoraParams
from westofn.params.optimiser import AdamParams, SharedOptimiserParams


class RlhfParams(AdamParams):
    """Reinforcement learning of the policy against the student's standardised reward."""

    key: ClassVar[str] = "rlhf"
    defaults: ClassVar[tuple[Default, ...]] = (
        Default(SharedOptimiserParams),
        Default(LoraParams, "lora"),
    )

    algorithm: Literal["ppo", "rloo"]
    lora: AdapterParams
    steps: Count
    batch_size: Annotated[int, Field(ge=2, multiple_of=2)]
    samples_per_prompt: Count
    learning_rate: Positive
    warmup_fraction: Fraction
    kl_weight: NonNegative
    missing_end_penalty: NonNegative
    temperature: Positive
    epochs: Count
    minibatches: Count
    clip: Positive
    value_warmup_steps: Annotated[int, Field(ge=0)]
    value_clip: Positive
    discount: Share
    gae_lambda: Share
    evaluations: Annotated[int, Field(ge=2)]

    @property
    def frozen_steps(self) -> int:
        """Steps before the policy learns: value_warmup_steps under ppo, 0 under rloo."""
        return self.value_warmup_steps if self.algorithm == "ppo" else 0

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        unit = self.samples_per_prompt * self.minibatches
        if self.batch_size % unit:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of {unit}: minibatches "
                f"{self.minibatches} × samples_per_prompt {self.samples_per_prompt}"
            )
        if self.algorithm == "rloo" and self.samples_per_prompt < 2:
            raise ValueError("samples_per_prompt is 1, algorithm rloo compares at least 2")
        return self

    @model_validator(mode="after")
    def _policy_thaws(self) -> Self:
        if self.frozen_steps >= self.steps:
            raise ValueError(
                f"value_warmup_steps {self.value_warmup_steps} of steps {self.steps} leave none "
                "in which the policy learns"
            )
        return self
