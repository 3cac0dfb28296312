"""How weights are learned."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from westofn.params.base import Count, Fraction, NonNegative, Positive, Section


class OptimiserParams(Section):
    """AdamW with linear warm-up and cosine decay to zero; the batch is the global one."""

    steps: Count
    batch_size: Annotated[int, Field(ge=2, multiple_of=2)]
    learning_rate: Positive
    warmup_fraction: Fraction
    weight_decay: NonNegative
