"""The section `base_rm`."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from westofn.params.base import Count, Default
from westofn.params.comparator import ComparatorName
from westofn.params.reward import RewardModelParams


class BaseRmParams(RewardModelParams):
    """The base preference model (the teacher)."""

    key: ClassVar[str] = "base_rm"
    defaults: ClassVar[tuple[Default, ...]] = (
        *RewardModelParams.defaults,
        Default(RewardModelParams),
    )

    comparator: ComparatorName
    planes: Count
    members: Count

    @model_validator(mode="after")
    def _linear_heads_have_no_planes(self) -> Self:
        if self.learner == "linear_head" and self.comparator == "embedding":
            raise ValueError(
                "base_rm.learner is linear_head and base_rm.comparator is embedding, whose planes "
                "are no linear function of features; set base_rm.comparator to pointwise or joint, "
                "or base_rm.learner to network"
            )
        return self
