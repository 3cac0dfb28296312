"""What every section of params.yaml is made of."""

from __future__ import annotations

from typing import Annotated, ClassVar, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

EXAMPLES = "docs/examples/"
"""Where files lie that show a form, and that no stage reads as data of the user."""

LARGEST: dict[type, float] = {int: 2**31 - 1, float: 1e38}
"""The largest numbers of a parameter; float32 holds 3e38, and numbers are multiplied."""

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def _path_of_data(path: str) -> str:
    if not path.strip() or "\0" in path:  # an empty path would be the repository itself
        raise PydanticCustomError("path", "the path of a file or folder")
    return path


DataPath = Annotated[str, AfterValidator(_path_of_data)]
"""Path of a file or folder of the user's own."""


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

    @model_validator(mode="after")
    def _numbers_can_be_computed_with(self) -> Self:
        for name, value in self:
            largest = LARGEST.get(type(value))
            if largest is not None and name != "seed" and not -largest <= value <= largest:
                shown = str(value) if len(str(value)) < 30 else f"{str(value)[:30]}…"
                raise ValueError(f"{name} is {shown}, needs at most {largest:,}")
        return self


class Default(NamedTuple):
    """A section whose values another section takes.

    Attributes:
        section: The shared one.
        field: The field that takes its values; empty where the section's own fields do.
    """

    section: type[Section]
    field: str = ""
