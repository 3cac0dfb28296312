"""Words and sizes that networks share, whatever section names them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from westofn.params.base import Count, Fraction, Section

Readout = Literal["mean", "last"]
Precision = Literal["fp32", "bf16"]


class ModelSize(Section):
    """The size of a transformer that is built from random weights."""

    width: Annotated[int, Field(ge=8, multiple_of=8)]
    layers: Count
    heads: Count
    feed_forward: Count
    dropout: Fraction

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    def require_even_heads(self, kind: str) -> None:
        """Refuse heads of an odd width for a model with rotary positions."""
        if self.width // self.heads % 2:
            raise ValueError(
                f"width {self.width} over heads {self.heads} is {self.width // self.heads}, needs "
                f"an even number: {kind} turns pairs of a head's numbers by their position"
            )
