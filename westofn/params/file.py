"""params.yaml -> the sections that somebody asks for.

The file is read as YAML 1.2, the way DVC reads it (so `1e-5` is a number), unknown keys are
refused, and every fault is named with its key in one message.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from westofn.errors import ParameterError
from westofn.params.base import Section

PARAMS_FILE = Path("params.yaml")
Seed = Annotated[int, Field(ge=0)]
Location = tuple[int | str, ...]
S = TypeVar("S", bound=Section)
_ABSENT = object()


def load_section(section: type[S], path: Path = PARAMS_FILE) -> S:
    """Read and validate one section; the others may be wrong, `check` looks at them.

    Raises:
        ParameterError: The file is missing or is not YAML, or a key or value of the section is
            wrong; the message names every fault.
    """
    values: S = load_value(section.key, section, path)
    return values


def load_seed(path: Path = PARAMS_FILE) -> int:
    """The seed from which every random choice follows.

    Raises:
        ParameterError: As `load_section`.
    """
    seed: int = load_value("seed", Seed, path)
    return seed


def load_value(key: str, kind: Any, path: Path) -> Any:
    """Read and validate what stands at a key of the file's first level.

    Args:
        key: Its name.
        kind: A type that pydantic knows.
        path: The file.

    Raises:
        ParameterError: As `load_section`.
    """
    value = read_params(path).get(key, _ABSENT)
    if value is _ABSENT:
        raise ParameterError(f"{path}: {_missing(key)}")
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise refusal(error, kind, path, (key,)) from None


def read_params(path: Path) -> Mapping[str, Any]:
    """The file as mappings and values.

    Raises:
        ParameterError: It is missing, cannot be read, or is no mapping.
    """
    try:
        return _parsed(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise ParameterError(f"{path} is missing; run from the repository root") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} cannot be read: {error}; make it a UTF-8 text file") from None


@lru_cache(maxsize=1)  # a stage asks for several sections of one file
def _parsed(text: str, name: str) -> Mapping[str, Any]:
    try:
        raw = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        where = " ".join(str(error).split())
        raise ParameterError(f"{name} is not valid YAML: {where}") from None
    if not isinstance(raw, dict):
        raise ParameterError(f"{name} holds {type(raw).__name__}, needs a mapping of sections")
    return raw


def refusal(error: ValidationError, kind: Any, path: Path, key: Location = ()) -> ParameterError:
    """One message of all faults.

    Args:
        error: Of pydantic.
        kind: What was validated.
        path: The file.
        key: Where in the file it stands.
    """
    faults = [_fault(dict(item), kind, key) for item in error.errors()]
    return ParameterError(f"{path}: " + "; ".join(faults))


def _fault(error: dict[str, Any], kind: Any, key: Location) -> str:
    """One fault as `key is VALUE, needs WHAT`."""
    location: Location = error["loc"]
    name = ".".join(str(part) for part in (*key, *location))
    message = str(error["msg"])
    match error["type"]:
        case "extra_forbidden":
            known = _fields_at(kind, location[:-1])
            near = difflib.get_close_matches(str(location[-1]), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
            return f"{name} is not a parameter; {hint}"
        case "missing":
            return _missing(name)
        case "value_error":
            text = message.removeprefix("Value error, ")
            named = not name or re.match(rf"{re.escape(name)}[. ]", text)
            return text if named else f"{name}: {text}"
        case _:
            needed = message[0].lower() + message[1:]
            needed = needed.removeprefix("input should be ")
            return f"{name} is {error['input']!r}, needs {needed}"


def _missing(name: str) -> str:
    return f"{name} is missing; add it (git diff params.yaml shows what changed)"


def _fields_at(kind: Any, location: Sequence[object]) -> list[str]:
    """The field names of the section at a location, empty where it is no section."""
    for part in location:
        kind = _bare(kind)
        is_mapping = get_origin(kind) is dict
        kind = get_args(kind)[1] if is_mapping else kind.model_fields[part].annotation
    return list(getattr(_bare(kind), "model_fields", ()))


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind
