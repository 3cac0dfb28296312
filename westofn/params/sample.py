"""The section `sample`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from westofn.params.base import EXAMPLES, DataPath, Positive, Section


class SampleParams(Section):
    """Candidates from the policy, or from a file of pools for the prompts of D_U."""

    key: ClassVar[str] = "sample"

    engine: Literal["local", "file"]
    path: DataPath
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
