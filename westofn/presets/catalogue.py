"""The presets: what each is for, and the params.yaml that it stands for.

`world.yaml` is the committed params.yaml, byte for byte (`make presets` copies it). Every other
file here is an overlay of it: lines `key: value  # why` in its nesting, each of which takes the
place of the default's line. So comments stay with their values and a preset says only what differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML

from westofn.artifacts.table import did_you_mean
from westofn.errors import ParameterError


@dataclass(frozen=True)
class Preset:
    """One set of parameters.

    Attributes:
        name: Name of its file without the suffix.
        about: Data and models.
        hardware: What it is meant for.
    """

    name: str
    about: str
    hardware: str


WORLD = Preset("world", "the embedded world, models from scratch", "a CPU")
PRESETS = (
    WORLD,
    Preset(
        "tldr-t5-xxl",
        "the paper's figures: Reddit TL;DR, T5-XXL (11B), all weights",
        "400 GB of memory; with LoRA one 80 GB GPU",
    ),
    Preset("tldr-qwen", "Reddit TL;DR, Qwen2.5 1.5B", "one 80 GB GPU"),
    Preset("hh-helpful", "Anthropic HH, helpful, Qwen2.5 1.5B", "one 80 GB GPU"),
    Preset("hh-harmless", "Anthropic HH, harmless, Qwen2.5 1.5B", "one 80 GB GPU"),
    Preset("ultrafeedback-gemma", "UltraFeedback, Gemma 2B as in the paper", "one 80 GB GPU"),
    Preset(
        "files-small",
        "pairs of your own, Qwen2.5 1.5B Instruct, LoRA",
        "one 24 GB GPU",
    ),
    Preset("hh-smollm2", "Anthropic HH, helpful, SmolLM2 135M Instruct, LoRA", "a CPU"),
    Preset("hh-minilm", "Anthropic HH, helpful, SmolLM2; reward models from MiniLM", "a CPU"),
)


@dataclass(frozen=True)
class Line:
    """A value of a file of parameters.

    Attributes:
        number: Line number, from 0.
        value: As YAML reads it.
        comment: Beside it, without its mark; empty where there is none.
    """

    number: int
    value: Any
    comment: str


def preset_named(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ParameterError: There is none.
    """
    for preset in PRESETS:
        if preset.name == name:
            return preset
    known = [preset.name for preset in PRESETS]
    raise ParameterError(
        f"NAME: there is no preset {name!r}{did_you_mean(name, known)}, needs one of "
        f"{', '.join(known)}"
    )


def text_of(preset: Preset) -> str:
    """The params.yaml of a preset, which begins with what it is."""
    default = _packaged(WORLD.name)
    if preset == WORLD:
        return default
    head = f"# Preset {preset.name}: {preset.about}.\n# Meant for {preset.hardware}.\n#\n"
    return head + overlaid(default, _packaged(preset.name))


def overlaid(default: str, overlay: str) -> str:
    r"""The default with the overlay's lines in place of those of the same keys.

    Keys that the default has not, such as those of a section's own `lora`, end their section.

    Raises:
        KeyError: The overlay has a section that the default has not.

    >>> overlaid("a:\n  b: 1   # one\n  c: 2\n", "a:\n  c: 3   # more\n  d:\n    e: 4\n")
    'a:\n  b: 1   # one\n  c: 3   # more\n  d:\n    e: 4\n'
    """
    place = lines_of(default)
    lines, others = default.splitlines(keepends=True), overlay.splitlines(keepends=True)
    last = {key.partition(".")[0]: line.number for key, line in place.items()}
    headed: set[str] = set()
    for key, line in lines_of(overlay).items():
        if key in place:
            lines[place[key].number] = others[line.number]
            continue
        section, *inner = key.split(".")[:-1]
        head = ".".join([section, *inner])
        if inner and head not in headed:
            headed.add(head)
            lines[last[section]] += f"  {inner[0]}:\n"
        lines[last[section]] += others[line.number]
    return "".join(lines)


def lines_of(text: str) -> dict[str, Line]:
    r"""Every value of a file in block style by its dotted key, in order.

    >>> lines_of("a:\n  b: 5e-3  # rate\n")
    {'a.b': Line(number=1, value=0.005, comment='rate')}
    """
    lines = text.splitlines()
    return {
        key: Line(number, value, lines[number].partition(" #")[2].strip())
        for key, number, value in _walk(YAML().load(text))
    }


def _walk(section: Any, prefix: str = "") -> Iterator[tuple[str, int, Any]]:
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _walk(value, f"{prefix}{name}.")
        else:
            plain = float(value) if isinstance(value, float) else value
            yield f"{prefix}{name}", section.lc.key(name)[0], plain


def _packaged(name: str) -> str:
    return (files(__package__) / f"{name}.yaml").read_text("utf-8")
