"""The section `sample`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from westofn.params.base import EXAMPLES, DataPath, Positive, Section


class SampleParams(Section):
    """Candidates from the policy, here, by vLLM or on a server, or from a file of pools for D_U."""

    key: ClassVar[str] = "sample"

    engine: Literal["local", "vllm", "openai", "file"]
    path: DataPath
    model: Annotated[str, Field(min_length=1)]
    api: Literal["completions", "chat"]
    n_candidates: Annotated[int, Field(ge=2)]
    temperature: Positive

    @model_validator(mode="after")
    def _file_is_named(self) -> Self:
        if self.engine == "file" and self.path.startswith(EXAMPLES):
            raise ValueError(
                f"engine is file, and path is the example {self.path}; give a file or folder of "
                "your own pools"
            )
        return self

    @model_validator(mode="after")
    def _model_is_named(self) -> Self:
        if self.engine == "openai" and self.model == "none":
            raise ValueError(
                "engine is openai, and model is none; give the name by which the server knows the "
                "policy"
            )
        return self
