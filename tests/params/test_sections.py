"""A stage reaches the modules of the sections that dvc.yaml says it depends on, and no others."""

from __future__ import annotations

from functools import cache

import grimp
import pytest
from ruamel.yaml import YAML

from tests.repo.deps import ROOT, body_of, stage_module

SHARED = {"base", "comparator", "defaults", "file", "network"}
"""Modules of westofn/params that are no section's."""
WHOLE = {"check"}
"""Stages that load all of params.yaml; those of study/dvc.yaml do so too."""


@cache
def stages() -> dict[str, tuple[str, set[str]]]:
    """The module and the declared sections of every stage of dvc.yaml."""
    document = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    bodies = {name: body_of(stage) for name, stage in document.items()}
    return {
        name: (stage_module(body["cmd"]), {str(key).partition(".")[0] for key in body["params"]})
        for name, body in bodies.items()
        if name not in WHOLE
    }


@cache
def modules_reached(module: str) -> set[str]:
    """Modules of westofn/params that a module reaches by imports."""
    upstream = graph().find_upstream_modules(module)
    prefix = "westofn.params."
    return {name.removeprefix(prefix) for name in upstream if name.startswith(prefix)}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("stages", "westofn", cache_dir=None)


@pytest.mark.parametrize("name", stages())
def test_a_stage_reaches_its_own_sections_alone(name: str) -> None:
    module, declared = stages()[name]
    own = declared - {"seed"}
    # A section's class is built on those whose values it takes.
    below = set[str]().union(*(modules_reached(f"westofn.params.{section}") for section in own))
    reached = modules_reached(module) - SHARED
    assert own <= reached <= own | below


def test_check_reaches_every_module_of_parameters() -> None:
    files = {path.stem for path in (ROOT / "westofn/params").glob("*.py")} - {"__init__"}
    assert modules_reached("stages.check") == files
    assert files > SHARED
