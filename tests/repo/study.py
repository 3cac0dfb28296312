"""What a part of the study reads through StudyInputs and Lab: parameters and files.

A part is given all parameters and the whole folder of data. So its own code is followed into the
functions of westofn/study that it uses: module-level ones by name, methods of `lab` and `inputs`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache

from tests.repo.pipelines import ROOT
from westofn.study.parts import INPUTS, Part

STUDY = ROOT / "westofn" / "study"
RECEIVERS = {"lab", "inputs", "self"}
OF_A_MODEL = {"model_copy", "model_dump"}


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse(ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8"))


def inputs_of(part: Part) -> list[str]:
    """What a part reads, from the root; `*` stands for the round of one that measures rounds."""
    inputs = INPUTS[part]
    return [f"data/{path}" for path in inputs.of("*" if inputs.by_iteration else "")]


def touch(one: str, other: str) -> bool:
    """Whether one is the other, or lies in it."""
    return any(fnmatch(a, b) or fnmatch(a, f"{b}/*") for a, b in ((one, other), (other, one)))


class Reached:
    """Keys of params.yaml and files under data/ that code reads, and uses that hide which.

    Attributes:
        keys: Dotted keys.
        files: Paths; `*` stands for what is variable.
        hidden: Code that passes all parameters on.
    """

    def __init__(self, *roots: ast.AST) -> None:
        self.keys: set[str] = set()
        self.files: set[str] = set()
        self.hidden: list[str] = []
        waiting, seen = list(roots), set(map(id, roots))
        while waiting:
            node = waiting.pop()
            self._look(node)
            for found in _used(node):
                if id(found) not in seen:
                    seen.add(id(found))
                    waiting.append(found)

    def _look(self, root: ast.AST) -> None:
        above = {child: node for node in ast.walk(root) for child in ast.iter_child_nodes(node)}
        for node in ast.walk(root):
            if isinstance(node, ast.Attribute) and node.attr == "params":
                if names := _names_after(node, above):
                    self.keys.add(".".join(names))
                else:
                    self.hidden.append(ast.unparse(above[node]))
            elif isinstance(node, ast.Attribute) and node.attr == "data":
                if (names := _folders_after(node, above)) not in ([], ["*"]):
                    self.files.add("/".join(["data", *names]))
            elif isinstance(node, ast.Dict):
                texts = [v.value for v in node.values if isinstance(v, ast.Constant)]
                self.files |= {f"data/{t}" for t in texts if isinstance(t, str) and "/" in t}


def reached_by(*modules: str) -> Reached:
    """What modules read; of stages and parts."""
    return Reached(*map(parsed, modules))


def _names_after(node: ast.Attribute, above: dict[ast.AST, ast.AST]) -> list[str]:
    names, here = [], above[node]
    while isinstance(here, ast.Attribute) and here.attr not in OF_A_MODEL:
        names.append(here.attr)
        here = above[here]
    return names


def _folders_after(node: ast.Attribute, above: dict[ast.AST, ast.AST]) -> list[str]:
    names: list[str] = []
    here = above[node]
    while isinstance(here, ast.BinOp):
        names.append(str(here.right.value) if isinstance(here.right, ast.Constant) else "*")
        here = above[here]
    return names


def _used(root: ast.AST) -> Iterator[ast.AST]:
    """The functions and methods of westofn/study that code uses."""
    functions, methods = definitions()
    for node in ast.walk(root):
        if isinstance(node, ast.Name):
            yield from functions.get(node.id, [])
        elif isinstance(node, ast.Attribute) and _is_receiver(node.value):
            yield from methods.get(node.attr, [])


def _is_receiver(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in RECEIVERS
    return isinstance(node, ast.Attribute) and node.attr == "inputs"


@cache
def definitions() -> tuple[dict[str, list[ast.AST]], dict[str, list[ast.AST]]]:
    """Functions and methods of westofn/study by name, those of its parts and pages left out.

    A part that another one imports from is followed by its module-level functions too.
    """
    functions: dict[str, list[ast.AST]] = {}
    methods: dict[str, list[ast.AST]] = {}
    files = [
        STUDY / f"{name}.py" for name in ("inputs", "lab", "synthetic", "verdicts", "pool_plan")
    ]
    for file in [*files, *sorted((STUDY / "parts").glob("*.py"))]:
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name != "run":
                functions.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef):
                        methods.setdefault(inner.name, []).append(inner)
    assert functions.keys() >= {"pairs_to_judge", "deep_size"}
    assert methods.keys() >= {"student", "unlabeled"}
    return functions, methods
