"""The section `lora`: adapters in place of all weights, of everything that is trained."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from westofn.params.base import Fraction, Positive, Section

ALL_LINEAR = "all-linear"
"""Adapters on every linear layer but the projection to the vocabulary."""


class AdapterParams(Section):
    """LoRA; rank 0 trains all weights.

    Attributes:
        rank: Rank of the matrix that is added to a weight.
        alpha: What is added is scaled by alpha / rank.
        targets: `all-linear`, or names of linear layers with commas between them.
    """

    rank: Annotated[int, Field(ge=0)]
    alpha: Positive
    targets: Annotated[str, Field(min_length=1)]


class LoraParams(AdapterParams):
    """LoRA with dropout of what an adapter reads."""

    key: ClassVar[str] = "lora"

    dropout: Fraction
