"""What code a stage depends on, by meaning: digests of syntax trees without docstrings.

The import statements of a stage are followed, also those inside functions, through the folders
`stages`, `westofn` and `plugins`. A package's `__init__` runs when a module of it is imported, so
it counts too. Comments, docstrings and layout are not in the tree; names and annotations are, since
typer and pydantic read annotations when they run. Templates beside a module count by their bytes.

Fields that are empty are left out, so a Python version that adds optional fields gives equal
digests. A version that parses the same text to another tree gives other digests: then every stage
that reads such text runs again.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from westofn.errors import DataError

PACKAGES = ("plugins", "stages", "westofn")
NO_STAGES = {"__init__", "common", "code"}
"""Modules of `stages` without a digest: shared ones, and the stage that reads all code."""
LOADED_BY_NAME = {"study": "westofn.study.parts"}
"""Stage -> the package of which its command names one module: `study --part NAME`."""
TEMPLATES = {".jinja", ".css", ".js", ".yaml"}

Digests = Mapping[str, str]
"""File, relative to the root -> digest of what it means; in the order of the files."""


def digests_of_stages(root: Path) -> dict[str, Digests]:
    """The code of every stage, by the name of its digest file.

    A stage's module has one; a stage that loads a module by name has one for each of these, such
    as `study_size`.

    Args:
        root: The folder that holds the packages `stages` and `westofn`.

    Raises:
        DataError: A file that a stage imports is not Python.
    """
    code = Code(root)
    stages = {}
    for path in sorted((root / "stages").glob("*.py")):
        if path.stem in NO_STAGES:
            continue
        module = f"stages.{path.stem}"
        if package := LOADED_BY_NAME.get(path.stem):
            for part in code.modules_in(package):
                name = f"{path.stem}_{part.rpartition('.')[2]}"
                stages[name] = code.digests(module, part)
        else:
            stages[path.stem] = code.digests(module)
    return stages


def digests_of_plugin(root: Path, module: str | None) -> Digests:
    """The code of a file in `plugins/`, and what it imports; empty where there is none.

    Args:
        root: The folder that holds `plugins`.
        module: The file's name without its ending.

    Raises:
        DataError: A file is not Python.
    """
    there = module is not None and (root / "plugins" / f"{module}.py").is_file()
    return Code(root).digests(f"plugins.{module}") if there else {}


def changed_files(old: Digests, new: Digests) -> list[str]:
    """The files whose code changed, came or went, in order."""
    return sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


@dataclass(frozen=True)
class _Module:
    """A module that was read: its file, its digest, and the modules and packages it needs.

    The digest is empty where the file holds docstrings and comments alone.
    """

    path: Path
    digest: str
    needs: Sequence[str]


class Code:
    """The code below a root, each file read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[str, _Module] = {}

    def digests(self, *modules: str) -> Digests:
        """Digests of modules and of all that they import; files without code are left out."""
        read = [self._module(name) for name in self.reached(*modules)]
        digests = {module.path: module.digest for module in read if module.digest}
        for folder in {module.path.parent for module in read}:
            templates = [path for path in folder.iterdir() if path.suffix in TEMPLATES]
            digests |= {path: _digest(path.read_bytes()) for path in templates}
        return {self._name(path): digests[path] for path in sorted(digests)}

    def reached(self, *modules: str) -> set[str]:
        """Modules and packages that run, or may run, once these are imported; these included."""
        waiting, reached = list(modules), set[str]()
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += self._module(name).needs
        return reached

    def modules_in(self, package: str) -> list[str]:
        """The modules of a package, sorted."""
        folder = self._path(package).parent
        names = sorted(path.stem for path in folder.glob("*.py"))
        return [f"{package}.{name}" for name in names if name != "__init__"]

    def _module(self, name: str) -> _Module:
        if name not in self._read:
            path = self._path(name)
            tree = self._parse(path)
            package = name.rpartition(".")[0]
            inside = name if path.name == "__init__.py" else package
            needs = {package, *imported_names(tree, inside)}
            text = _meaning(tree.body)
            self._read[name] = _Module(
                path,
                "" if text == "[]" else _digest(text.encode()),
                [other for other in needs if self._is_ours(other)],
            )
        return self._read[name]

    def _parse(self, path: Path) -> ast.Module:
        try:
            return ast.parse(path.read_bytes())
        except (SyntaxError, ValueError) as error:
            where = f"{self._name(path)}:{getattr(error, 'lineno', None) or 1}"
            reason = getattr(error, "msg", None) or error
            raise DataError(f"{where}: is not Python ({reason}); mend the file and rerun") from None

    def _is_ours(self, name: str) -> bool:
        return name.split(".")[0] in PACKAGES and self._path(name).is_file()

    def _path(self, name: str) -> Path:
        path = self._root.joinpath(*name.split("."))
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def imported_names(tree: ast.AST, package: str) -> Iterator[str]:
    """Dotted names that import statements name; of `from a import b`, both a and a.b.

    Args:
        tree: Syntax tree of a module.
        package: The package that relative imports start from.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join(filter(None, [*above, node.module]))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _meaning(node: object) -> str:
    """A syntax tree as text: without positions, without empty fields, without docstrings."""
    if isinstance(node, ast.AST):
        fields = [
            f"{name}={_meaning(value)}"
            for name, value in ast.iter_fields(node)
            if value is not None and value != []
        ]
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(_meaning(item) for item in node if not _is_docstring(item))}]"
    return ascii(node)  # repr depends on which characters a Python version can print


def _is_docstring(node: object) -> bool:
    """Whether a node is a statement that is a text alone, as below a function or a constant."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
