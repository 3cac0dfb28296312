"""Values that a section takes from others, such as `student_rm` its optimiser from `reward`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from westofn.params.base import Default, Section

Location = tuple[int | str, ...]


def values_of(section: type[Section], file: Mapping[str, Any]) -> Any:
    """The values of a section in params.yaml: its own, above those that it takes from others."""
    own = file[section.key]
    if not isinstance(own, dict):
        return own
    taken: dict[str, Any] = {}
    for default in section.defaults:
        shared = file.get(default.section.key)
        if isinstance(shared, dict):
            fields = _fields_that_take(section, default)
            values = {name: value for name, value in shared.items() if name in fields}
            taken = _laid_over(taken, {default.field: values} if default.field else values)
    return _laid_over(taken, own)


def origin_of(section: type[Section], location: Location, file: Mapping[str, Any]) -> Location:
    """Where in the file a value of a section stands, or is to be added.

    Args:
        section: The section.
        location: Keys that lead to the value.
        file: All sections.
    """
    if _holds(file[section.key], location):
        return (section.key, *location)
    places = [
        (default.section, location[1:] if default.field else location)
        for default in section.defaults
        if not default.field or location[:1] == (default.field,)
    ]
    for shared, inner in reversed(places):
        if _holds(file, (shared.key, *inner)):
            return (shared.key, *inner)
    for shared, inner in places:
        if not inner or inner[0] in shared.model_fields:
            return (shared.key, *inner)
    return (section.key, *location)


def _fields_that_take(section: type[Section], default: Default) -> Mapping[str, Any]:
    if not default.field:
        return section.model_fields
    inner: Any = section.model_fields[default.field].annotation
    fields: Mapping[str, Any] = inner.model_fields
    return fields


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Values of both; where both give one, that of `above`."""
    result = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = _laid_over(result[name], value) if both else value
    return result


def _holds(values: Any, location: Location) -> bool:
    """Whether there is a value at a location."""
    for part in location:
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True
