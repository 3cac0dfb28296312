"""What the documentation names exists: files, links, targets, commands, parameters, defaults."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from tests.repo.pipelines import PIPELINES, ROOT, stages_in
from westofn.__main__ import app
from westofn.artifacts.catalogue import TABLES, markdown
from westofn.core.losses import LOSSES
from westofn.core.selection import SELECTORS
from westofn.params.defaults import values_of
from westofn.params.whole import SECTIONS, Params
from westofn.runtime import KEYS

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = ROOT / "README.md"
METHOD = ROOT / "docs" / "method.md"
PARAMS: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text("utf-8"))
# Made by a run or by the user, hence in no clone.
MADE = (
    "metrics.json",
    "dvc.lock",
    "runtime.toml",
    "runs/stages.jsonl",
    "ensemble.json",
    "card.json",
    "manifest.json",
    "westofn.sha256",
    "questions.jsonl",
    "label.html",
    "answers.jsonl",
)
TREES = ("stages/", "westofn/", "tests/", "docs/", ".ci/", "benchmarks/")

_FENCE = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def spans(text: str) -> list[str]:
    """What stands between backticks outside of blocks."""
    return _SPAN.findall(_FENCE.sub("", text))


def code(text: str) -> list[str]:
    """Spans, and the lines of blocks."""
    return spans(text) + [line for block in _FENCE.findall(text) for line in block.splitlines()]


def everywhere(pattern: str, find: Any = code) -> list[tuple[str, str]]:
    """(page, what the pattern's group found) over all pages."""
    return [
        (name_of(path), str(found))
        for path in PAGES
        for piece in find(path.read_text("utf-8"))
        for found in re.findall(pattern, piece)
    ]


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def keys(section: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted key of params.yaml, sections included."""
    for name, value in section.items() if isinstance(section, dict) else ():
        yield prefix + name
        yield from keys(value, f"{prefix}{name}.")


def settable() -> set[str]:
    """Every dotted key that params.yaml may hold: also those that a section takes from another."""
    taken = {name: values_of(kind, PARAMS) for name, kind in SECTIONS.items()}
    assert "runs" in taken["base_rm"]
    return {*keys(PARAMS), *keys(taken)}


def outputs() -> list[str]:
    """Patterns of every output of both pipeline files."""
    bodies = [body for path in PIPELINES for body in stages_in(path).values()]
    written = [out for body in bodies for out in body["outs"]]
    assert len(written) >= len(bodies) > 20
    return [re.sub(r"\$\{[^}]*\}", "*", str(out)) for out in written]


def test_pages_are_there() -> None:
    names = {name_of(path) for path in PAGES}
    assert names >= {"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    assert names >= {"docs/method.md", "docs/artifacts.md"}


def test_artifacts_page_is_what_the_schemas_say() -> None:
    text = (ROOT / "docs" / "artifacts.md").read_text("utf-8")
    assert text == markdown(), "run `make docs`"
    assert re.findall(r"^## `(\w+)`", text, re.MULTILINE) == [table.name for table in TABLES]


def test_every_adr_is_one_page_with_its_number() -> None:
    numbers = []
    for path in sorted((ROOT / "docs" / "adr").glob("*.md")):
        number, text = path.name[:4], path.read_text("utf-8")
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name)
        assert text.startswith(f"# {number} ")
        assert [part for part in ("Context", "Decision", "Consequences") if f"## {part}" in text]
        assert len(text.splitlines()) <= 60
        assert f"docs/adr/{path.name}" in (ROOT / "ARCHITECTURE.md").read_text("utf-8")
        numbers.append(int(number))
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 9


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in _LINK.findall(_FENCE.sub("", path.read_text("utf-8"))):
        if target.startswith(("https:", "http:", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{name_of(path)} links {target}"
        if anchor:
            assert anchor in anchors(there.read_text("utf-8")), f"{name_of(path)} links {target}"


def test_links_and_paths_are_many_enough_to_be_looked_at() -> None:
    assert len(everywhere(_LINK.pattern, lambda text: [_FENCE.sub("", text)])) > 20
    assert len(everywhere(rf"^(?:{'|'.join(map(re.escape, TREES))}).*", spans)) > 40


def test_named_files_exist() -> None:
    for where, path in everywhere(rf"^(?:{'|'.join(map(re.escape, TREES))})\S*$", spans):
        if "<" in path:
            continue
        assert list(ROOT.glob(path.rstrip("/"))), f"{where} names {path}"


def test_named_data_is_written_by_a_stage() -> None:
    patterns = outputs()
    found = everywhere(r"(?<![\w/])data/[\w./*-]*[\w*]", code)
    assert len(found) > 5
    for where, path in found:
        inside = [p for p in patterns if fnmatch(path, p) or fnmatch(path, f"{p}/*")]
        depth = path.count("/") + 1
        above = [p for p in patterns if fnmatch(path, "/".join(p.split("/")[:depth]))]
        assert inside or above, f"{where} names {path}"


def test_named_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    found = everywhere(r"\bmake ([a-z][\w-]*)")
    assert {target for _, target in found} >= {"repro", "test", "check"}
    for where, target in found:
        assert target in targets, f"{where} names make {target}"


def test_named_commands_exist() -> None:
    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    for group in app.registered_groups:
        assert group.typer_instance
        commands = {command.name for command in group.typer_instance.registered_commands}
        for where, command in everywhere(rf"python -m westofn {group.name} (\w+)"):
            assert command in commands, f"{where} names python -m westofn {group.name} {command}"
        known.add(str(group.name))
    found = everywhere(r"python -m westofn (\w+)")
    assert {command for _, command in found} >= {"doctor", "show", "summary", "tune"}
    for where, command in found:
        assert command in known, f"{where} names python -m westofn {command}"


def test_named_modules_exist() -> None:
    found = everywhere(r"python -m ((?:tests|stages|benchmarks)(?:\.\w+)+)")
    assert found
    for where, module in found:
        assert importlib.util.find_spec(module), f"{where} names {module}"


def test_dotted_names_are_parameters_modules_or_files() -> None:
    known, looked_at = settable(), 0
    for where, name in everywhere(rf"^({_DOTTED.pattern})$", spans):
        head = name.split(".")[0]
        if head in PARAMS and not (ROOT / name).is_file():  # study.json is no key of study
            assert name in known, f"{where} names {name}, which params.yaml has not"
            looked_at += 1
        elif head in ("westofn", "tests", "stages"):
            module = name if importlib.util.find_spec(name) else name.rpartition(".")[0]
            assert importlib.util.find_spec(module), f"{where} names {name}"
        elif head not in ("torch", "transformers", "datasets", "core"):
            exists = (ROOT / name).exists() or name in MADE or list(ROOT.glob(f"data/**/{name}"))
            written = any(name in path.read_text("utf-8") for path in ROOT.glob("stages/*.py"))
            assert exists or written, f"{where} names {name}"
    assert looked_at > 30


def test_experiments_set_parameters_that_exist() -> None:
    known = set(keys(PARAMS))
    found = everywhere(r"-S '?([\w.]+)=")
    assert "filter.quantile" in {key for _, key in found}
    added = everywhere(r"-S '?\+([\w.]+)=")
    assert "rlhf.lora.rank" in {key for _, key in added}
    for where, key in added:
        is_round = key.startswith("loop.k")
        assert is_round or key in settable() - known, f"{where} adds {key} by -S"
    for where, key in found:
        assert key in known, f"{where} sets {key}"


def literals(model: type[BaseModel]) -> Iterator[str]:
    for field in model.model_fields.values():
        annotation: Any = field.annotation
        if get_origin(annotation) is Literal:
            yield from get_args(annotation)
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from literals(annotation)


def test_the_settings_page_names_every_choice_and_setting() -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    choices = {*literals(Params), *SELECTORS, *LOSSES}
    assert choices >= {"embedding", "best_below", "rloo", "hh"}
    missing = [name for name in sorted(choices | set(KEYS)) if f"`{name}`" not in text]
    assert missing == []


def test_readme_fits_a_newcomer_and_holds_the_results() -> None:
    text = README.read_text("utf-8")
    assert len(text.splitlines()) <= 130
    assert text.index("<!-- results -->") < text.index("<!-- /results -->")


def test_method_page_states_the_defaults_of_params() -> None:
    rows = re.findall(
        r"^\| `(\w+(?:\.\w+)+)` \|[^|]*\| ([^|]+?) \|", METHOD.read_text("utf-8"), re.M
    )
    assert len(rows) > 25
    for key, stated in rows:
        value: Any = PARAMS
        for part in key.split("."):
            value = value[part]
        assert YAML(typ="safe", pure=True).load(stated) == value, f"{key} is {value}, not {stated}"
