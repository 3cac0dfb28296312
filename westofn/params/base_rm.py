"""The section `base_rm`."""

from __future__ import annotations

from typing import ClassVar

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
