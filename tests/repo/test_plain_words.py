"""Docstrings say what an argument holds, and local names are nouns."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.repo.pipelines import ROOT

TREES = ("westofn", "stages", "benchmarks")
VAGUE = frozenset({"apart", "found", "its", "one", "said", "some"})

_VAGUE_DOC = re.compile(r"^ +\*{0,2}\w+: of\b", re.IGNORECASE | re.MULTILINE)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

CODE = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for tree in TREES
    for path in sorted((ROOT / tree).rglob("*.py"))
}


def vague_docs(module: ast.Module) -> list[str]:
    """Argument and attribute docs that begin with "Of"."""
    docstrings = [
        ast.get_docstring(node) or "" for node in ast.walk(module) if isinstance(node, _DOCUMENTED)
    ]
    return [doc.strip() for text in docstrings for doc in _VAGUE_DOC.findall(text)]


def local_names(module: ast.Module) -> Iterator[str]:
    """Parameters and variables of all functions, with their lines."""
    for function in ast.walk(module):
        if isinstance(function, _FUNCTIONS):
            for node in ast.walk(function):
                if isinstance(node, ast.arg):
                    yield node.arg
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id


def offences(name: str, module: ast.Module) -> list[str]:
    names = VAGUE.intersection(local_names(module)) if name.startswith("westofn/") else ()
    return [*vague_docs(module), *(f"local name {local}" for local in sorted(names))]


def test_the_code_is_looked_at() -> None:
    assert {"westofn/core/questions.py", "stages/eval.py"} <= set(CODE)
    assert any(list(local_names(module)) for module in CODE.values())


@pytest.mark.parametrize("name", sorted(CODE))
def test_docs_and_local_names_say_what_they_hold(name: str) -> None:
    assert offences(name, CODE[name]) == []


def test_a_vague_argument_doc_is_an_offence() -> None:
    code = 'def f(seed):\n    """Do.\n\n    Args:\n        seed: Of the draws.\n    """\n'
    assert offences("stages/x.py", ast.parse(code)) == ["seed: Of"]


def test_a_vague_local_name_is_an_offence_in_the_package_only() -> None:
    module = ast.parse("def f(a):\n    return [some for some in a]\n")
    assert offences("westofn/x.py", module) == ["local name some"]
    assert offences("benchmarks/x.py", module) == []
