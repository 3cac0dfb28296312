"""Functions are short, code stands once, and no module imports itself by way of another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from itertools import combinations
from statistics import median

import grimp

from tests.repo.pipelines import ROOT

LONGEST = 80  # lines of a body, without its docstring
MEDIAN = 10
EQUAL = 10  # lines in a row, without imports, docstrings, comments and blank lines


@cache
def sources() -> dict[str, ast.Module]:
    folders = ("westofn", "stages", "benchmarks")
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(paths) > 200
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in paths}


def body_lines(function: ast.FunctionDef) -> int:
    """Lines from the first statement after the docstring to the last one."""
    body = function.body[ast.get_docstring(function) is not None :]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@cache
def lengths() -> dict[str, int]:
    return {
        f"{path}:{node.name}:{node.lineno}": body_lines(node)
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }


def test_no_function_is_longer_than_eighty_lines() -> None:
    longer = {name.rpartition(":")[0] for name, lines in lengths().items() if lines > LONGEST}
    assert longer == set()


def test_half_of_the_functions_have_ten_lines_or_fewer() -> None:
    assert len(lengths()) > 1000
    assert median(lengths().values()) <= MEDIAN


def code_lines(path: str, tree: ast.Module) -> Iterator[str]:
    left_out: set[int] = set()
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if isinstance(node, ast.Import | ast.ImportFrom):
            left_out |= set(range(node.lineno, (node.end_lineno or 0) + 1))
        elif documented and ast.get_docstring(node) is not None:
            left_out |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    for number, line in enumerate((ROOT / path).read_text("utf-8").splitlines(), start=1):
        text = line.strip()
        if number not in left_out and text and not text.startswith("#"):
            yield text


def equal_runs(files: dict[str, list[str]]) -> set[tuple[str, str]]:
    """Pairs of files, or a file twice, that share as many lines in a row."""
    places: dict[tuple[str, ...], list[str]] = {}
    for path, lines in files.items():
        for start in range(len(lines) - EQUAL + 1):
            places.setdefault(tuple(lines[start : start + EQUAL]), []).append(path)
    return {pair for paths in places.values() for pair in combinations(paths, 2)}


def test_no_ten_lines_stand_twice() -> None:
    files = {path: list(code_lines(path, tree)) for path, tree in sources().items()}
    assert equal_runs(files) == set()


def test_lines_that_stand_twice_are_found() -> None:
    lines = [f"line {number}" for number in range(EQUAL)]
    assert equal_runs({"a": ["x", *lines], "b": [*lines, "y"]}) == {("a", "b")}
    assert equal_runs({"a": [*lines, "x", *lines]}) == {("a", "a")}
    assert equal_runs({"a": lines, "b": lines[1:]}) == set()


def test_no_module_imports_itself_by_way_of_another() -> None:
    graph = grimp.build_graph("westofn", cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert sum(map(len, imports.values())) > 500
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle
