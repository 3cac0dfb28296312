"""The section `student_rm`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import PlainValidator

from westofn.params.base import Default, Fraction
from westofn.params.reward import RewardModelParams

LARGEST_POWER = 4.0
"""Of the prior's covariance: variances that differ by 100 are then 1e8 apart."""


def _covariance_power(value: object) -> Literal["validation"] | float:
    if value == "validation":
        return "validation"
    if isinstance(value, int | float) and type(value) is not bool and 0 <= value <= LARGEST_POWER:
        return float(value)
    raise ValueError(f"is {value!r}, needs validation or a number from 0 to {LARGEST_POWER:g}")


CovariancePower = Annotated[Literal["validation"] | float, PlainValidator(_covariance_power)]


class StudentRmParams(RewardModelParams):
    """The pointwise student; the references HF50 and HF100 are trained with the same section.

    Attributes:
        covariance_power: p of the linear head's prior w ~ N(0, s·Σ_π^p), Σ_π the covariance of the
            policy's samples; `validation` tries several. Of references it is 0.
        synthetic_fraction: Share of synthetic pairs in every batch, or in a linear head's loss; 0
            trains on human pairs only.
    """

    key: ClassVar[str] = "student_rm"
    defaults: ClassVar[tuple[Default, ...]] = (
        *RewardModelParams.defaults,
        Default(RewardModelParams),
    )

    covariance_power: CovariancePower
    synthetic_fraction: Fraction
