"""The two pipeline files as the tests read them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = (ROOT / "dvc.yaml", ROOT / "study" / "dvc.yaml")


def stages_in(path: Path) -> dict[str, dict[str, Any]]:
    """The stages of a pipeline file by name, in order; of a foreach stage what is below `do`."""
    document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    return {name: stage.get("do", stage) for name, stage in document["stages"].items()}


def stage_module(command: str) -> str:
    """The module that a stage's command runs."""
    match = re.search(r"python -m (stages\.\w+)", command)
    assert match, f"{command!r} does not run a module of stages"
    return match.group(1)


def part_modules(command: str) -> list[str]:
    """The module that the command of `study` loads by its name, where it does."""
    return [f"westofn.study.parts.{part}" for part in re.findall(r"--part (\w+)", command)]
