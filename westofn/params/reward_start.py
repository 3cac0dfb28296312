"""The section `reward_start`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from westofn.params.base import Section
from westofn.params.network import ModelSize

OF_PIPELINE = ("policy", "scratch")
"""Values of `reward_start.model` that name no pretrained model."""


class ScratchEncoder(ModelSize):
    """The ModernBERT that is built when `reward_start.model` is `scratch`."""

    @model_validator(mode="after")
    def _positions_turn_pairs(self) -> Self:
        self.require_even_heads("a ModernBERT")
        return self


class RewardStartParams(Section):
    """Where every reward model starts, so that arms differ in their data alone.

    Attributes:
        model: `policy`: the SFT policy's weights and tokenizer; `scratch`: an encoder-only model
            that reads the policy's tokenizer; else the path or name of a pretrained model of any
            family, with its own tokenizer.
        scratch: Its size.
    """

    key: ClassVar[str] = "reward_start"

    model: Annotated[str, Field(min_length=1)]
    scratch: ScratchEncoder
