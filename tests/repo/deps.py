"""Each stage's `deps` in dvc.yaml list the code that it imports, and this keeps them true.

`python -m tests.repo.deps --write` puts them in, `--check` compares. Data deps stay as written;
code deps are everything under stages/ and westofn/ that the stage's module reaches by imports,
also those inside functions, and the page's templates with the report.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path

import grimp
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = (ROOT / "dvc.yaml", ROOT / "study" / "dvc.yaml")
CODE = ("stages/", "westofn/")
# The world's grammar is what `prepare` reads by default, so it is a dep by its path already.
READ_AS_DATA = {"prepare": "westofn/sources/world/"}


def code_of(command: str, graph: grimp.ImportGraph) -> list[str]:
    """Files that a stage's command reaches by imports, relative to the root, sorted."""
    modules = {stage_module(command), *part_modules(command)}
    reached = modules.union(*map(graph.find_upstream_modules, modules))
    files = {_file(name) for name in reached}
    files |= {
        init
        for file in files
        for parent in file.parents
        if parent != ROOT and (init := parent / "__init__.py").is_file() and _has_code(init)
    }
    files |= {
        other
        for folder in {file.parent for file in files}
        for other in folder.iterdir()
        if other.suffix in {".jinja", ".css", ".js"}
    }
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _has_code(init: Path) -> bool:
    body = ast.parse(init.read_text(encoding="utf-8")).body
    return any(not isinstance(node, ast.Expr) for node in body)


def stage_module(command: str) -> str:
    """The module that a stage's command runs."""
    found = re.search(r"python -m (stages\.\w+)", command)
    if not found:
        raise SystemExit(f"dvc.yaml: {command!r} does not run a module of stages")
    return found.group(1)


def part_modules(command: str) -> list[str]:
    """The module that the command of `study` loads by its name, where it does."""
    return [f"westofn.study.parts.{part}" for part in re.findall(r"--part (\w+)", command)]


def body_of(stage: CommentedMap) -> CommentedMap:
    """The part of a stage that has cmd and deps, inside `do` for a foreach stage."""
    body: CommentedMap = stage.get("do", stage)
    return body


def expected(name: str, body: CommentedMap, graph: grimp.ImportGraph) -> list[str]:
    """Data deps as written, then the code."""
    data = [str(dep) for dep in body.get("deps") or [] if not str(dep).startswith(CODE)]
    skipped = READ_AS_DATA.get(name, "\0")
    code = [file for file in code_of(body["cmd"], graph) if skipped not in file]
    return data + code


def load(path: Path) -> tuple[YAML, CommentedMap]:
    """A pipeline file and the parser that writes it back as it was."""
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 110
    yaml.preserve_quotes = True
    return yaml, yaml.load(path.read_text(encoding="utf-8"))


def faults(path: Path) -> list[str]:
    """What is wrong in one pipeline file, a line a stage."""
    graph = grimp.build_graph("stages", "westofn", cache_dir=None)
    _, document = load(path)
    found = []
    for name, stage in document["stages"].items():
        body = body_of(stage)
        written = [str(dep) for dep in body.get("deps") or []]
        needed = expected(name, body, graph)
        missing = sorted(set(needed) - set(written))
        extra = sorted(set(written) - set(needed))
        if missing or extra:
            found.append(f"{path.name}: {name}: missing {missing}, not imported {extra}")
    return found


def write(path: Path) -> None:
    """Put the code deps into a pipeline file."""
    graph = grimp.build_graph("stages", "westofn", cache_dir=None)
    yaml, document = load(path)
    for name, stage in document["stages"].items():
        body = body_of(stage)
        body["deps"] = CommentedSeq(expected(name, body, graph))
    with path.open("w", encoding="utf-8") as handle:
        yaml.dump(document, handle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--check", action="store_true")
    group.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        for path in PIPELINES:
            write(path)
        return
    found = [fault for path in PIPELINES for fault in faults(path)]
    if found:
        sys.exit("\n".join([*found, "run `make deps`"]))


if __name__ == "__main__":
    main()
