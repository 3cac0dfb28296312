"""What every section of params.yaml is made of."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

EXAMPLES = "docs/examples/"
"""Where files lie that show a form, and that no stage reads as data of the user."""

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A section of params.yaml: frozen, strict types, no unknown keys.

    Attributes:
        key: The section's name in the file; empty where it stands inside another section.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    key: ClassVar[str] = ""
