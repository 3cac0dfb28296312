"""params.yaml -> the sections that somebody asks for.

The file is read as YAML 1.2, the way DVC reads it (so `1e-5` is a number), unknown keys are
refused, and every fault is named with its key in one message.
"""

from __future__ import annotations

import difflib
import re
import reprlib
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from westofn.errors import ParameterError
from westofn.params.base import Section
from westofn.params.defaults import Location, origin_of, values_of

PARAMS_FILE = Path("params.yaml")
_MOST_BYTES = 100_000
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 200
Seed = Annotated[int, Field(ge=0)]
S = TypeVar("S", bound=Section)


def load_section(section: type[S], path: Path = PARAMS_FILE) -> S:
    """Read and validate one section; the others may be wrong, `check` looks at them.

    Raises:
        ParameterError: The file is missing or is not YAML, or a key or value of the section is
            wrong; the message names every fault.
    """
    file = read_params(path)
    if section.key not in file:
        raise ParameterError(f"{path}: {_missing(section.key)}")
    try:
        return section.model_validate(values_of(section, file))
    except ValidationError as error:
        raise refusal(error, {section.key: section}, file, path, (section.key,)) from None


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
    file = read_params(path)
    if key not in file:
        raise ParameterError(f"{path}: {_missing(key)}")
    try:
        return TypeAdapter(kind).validate_python(file[key])
    except ValidationError as error:
        raise refusal(error, {key: kind}, file, path, (key,)) from None


def read_params(path: Path) -> Mapping[str, Any]:
    """The file as mappings and values.

    Raises:
        ParameterError: It is missing, cannot be read, or is no mapping.
    """
    return _parsed(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of params.yaml.

    Raises:
        ParameterError: It is missing, cannot be read, is not UTF-8, or is longer than any such
            file: a parser of YAML takes minutes for a few megabytes.
    """
    try:
        content = path.read_bytes()
        if len(content) > _MOST_BYTES:
            raise ParameterError(f"{path} has {len(content)} bytes, needs at most {_MOST_BYTES}")
        return content.decode()
    except FileNotFoundError:
        raise ParameterError(f"{path} is missing; run from the repository root") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} cannot be read: {error}; make it a UTF-8 text file") from None


@lru_cache(maxsize=1)  # a stage asks for several sections of one file
def _parsed(text: str, name: str) -> Mapping[str, Any]:
    return parse_yaml(text, name, YAML(typ="safe", pure=True))


def parse_yaml(text: str, name: str, parser: YAML) -> dict[str, Any]:
    """Parse the text of params.yaml, which is a mapping.

    Raises:
        ParameterError: It is not YAML, or no mapping.
    """
    try:
        raw = parser.load(text)
    except YAMLError as error:
        where = " ".join(str(error).split())
        raise ParameterError(f"{name} is not valid YAML: {where}") from None
    # What YAML allows and Python does not: the date 2001-99-99, 5,000 digits, a thousand brackets.
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ParameterError(f"{name} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ParameterError(f"{name} holds {type(raw).__name__}, needs a mapping of sections")
    return raw


def refusal(
    error: ValidationError,
    kinds: Mapping[str, Any],
    file: Mapping[str, Any],
    path: Path,
    key: Location = (),
) -> ParameterError:
    """One message of all faults, each with the key at which it is to be mended.

    Args:
        error: Validation error of pydantic.
        kinds: What stands in the file, by its key.
        file: What was validated.
        path: The file.
        key: Where in the file what was validated stands.
    """
    faults = []
    for item in error.errors():
        location: Location = (*key, *item["loc"])
        kind = kinds.get(str(location[0])) if location else None
        if isinstance(kind, type) and issubclass(kind, Section) and kind.key in file:
            location = origin_of(kind, location[1:], file)
        faults.append(_fault(dict(item), location, kinds))
    return ParameterError(f"{path}: " + "; ".join(dict.fromkeys(faults)) + how_to_undo(path))


def how_to_undo(path: Path = PARAMS_FILE) -> str:
    """How to take back what `dvc exp run -S` or an editor left in the file; empty if nothing."""
    command = ["git", "status", "--porcelain", "--", path.name]
    try:
        told = subprocess.run(
            command, cwd=path.absolute().parent, capture_output=True, timeout=5, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    if b"M" not in told[:2]:  # as committed, in no commit, or in no repository
        return ""
    return (
        f" (changed since the last commit: `git diff {path}` shows what, `git checkout {path}` "
        "takes all of it back)"
    )


def _fault(error: Mapping[str, Any], location: Location, kinds: Mapping[str, Any]) -> str:
    """One fault as `key is VALUE, needs WHAT`."""
    name = ".".join(map(str, location))
    message = str(error["msg"])
    match error["type"]:
        case "extra_forbidden":
            known = _names_at(kinds, location[:-1])
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
            return f"{name} is {_SHOWN.repr(error['input'])}, needs {needed}"


def _missing(name: str) -> str:
    return f"{name} is missing; add it (git diff params.yaml shows what changed)"


def _names_at(kinds: Mapping[str, Any], location: Location) -> list[str]:
    """The names that a mapping at a location may have, empty where it may have any."""
    if not location:
        return list(kinds)
    kind = _bare(kinds[str(location[0])])
    for part in location[1:]:
        is_mapping = get_origin(kind) is dict
        kind = _bare(get_args(kind)[1] if is_mapping else kind.model_fields[part].annotation)
    return list(getattr(kind, "model_fields", ()))


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind
