"""The section `sft`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from westofn.params.base import Count, Default
from westofn.params.lora import LoraParams
from westofn.params.network import ModelSize, Precision
from westofn.params.optimiser import OptimiserParams


class ScratchModel(ModelSize):
    """The model that is built when `sft.model` is `scratch`: a small T5 or a small Llama."""

    family: Literal["encoder_decoder", "causal"]
    tokenizer: Literal["words", "bytes"]
    vocabulary: Annotated[int, Field(ge=64)]

    @model_validator(mode="after")
    def _positions_turn_pairs(self) -> Self:
        if self.family == "causal":
            self.require_even_heads("a causal model")
        return self


class SftParams(OptimiserParams):
    """The supervised policy; reward models and RL take its precision over."""

    key: ClassVar[str] = "sft"
    defaults: ClassVar[tuple[Default, ...]] = (
        *OptimiserParams.defaults,
        Default(LoraParams, "lora"),
    )

    model: str
    chat_template: Literal["none", "model"]
    scratch: ScratchModel
    precision: Precision
    lora: LoraParams
    max_prompt_tokens: Annotated[int, Field(ge=4)]
    max_response_tokens: Annotated[int, Field(ge=2)]
    evaluations: Count
    validation_rows: Count

    @model_validator(mode="after")
    def _only_pretrained_models_have_chat_templates(self) -> Self:
        if self.chat_template == "model" and self.model == "scratch":
            raise ValueError(
                "chat_template is model, but a model from scratch has no chat template; set "
                "chat_template to none, or model to an instruct model"
            )
        return self

    @model_validator(mode="after")
    def _adapters_have_something_to_adapt(self) -> Self:
        if self.model == "scratch" and self.lora.rank:
            raise ValueError(
                f"lora.rank is {self.lora.rank} and model is scratch, whose random weights have to "
                "learn; give model a pretrained one, or set lora.rank to 0"
            )
        return self
