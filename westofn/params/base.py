"""What every section of params.yaml is made of."""

from __future__ import annotations

from typing import Annotated, ClassVar, NamedTuple

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
        defaults: Sections from which it takes the values that it does not give itself; a later one
            stands above an earlier one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    key: ClassVar[str] = ""
    defaults: ClassVar[tuple[Default, ...]] = ()


class Default(NamedTuple):
    """A section whose values another section takes.

    Attributes:
        section: The shared one.
        field: The field that takes its values; empty where the section's own fields do.
    """

    section: type[Section]
    field: str = ""
