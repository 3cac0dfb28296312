"""The house rules that no type checker sees: contracts, code, data, params, layers, large files."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import grimp
import pytest

from tests.repo.pipelines import PIPELINES, ROOT, part_modules, stage_module, stages_in
from tests.repo.study import Reached, inputs_of, reached_by, touch
from westofn.execution.code_digest import (
    LOADED_BY_NAME,
    PACKAGES,
    TEMPLATES,
    Code,
    digests_of_stages,
)
from westofn.params.base import Section
from westofn.params.whole import SECTIONS
from westofn.study.parts import INPUTS, Part

NINE = (
    "prepare", "sft", "base_rm", "sample", "won_select", "filter", "student_rm", "eval", "rlhf",
)  # fmt: skip
# They measure; `rlhf` draws the gold curve beside its training, which never reads it, and `report`
# shows the gold order of pools beside the teacher's. The parts of
# the study train too, on labels of models, people and the judge: tests/study/test_gold.py. The
# judge of `study_judge` labels by gold where it is the simulated one, and nobody else does.
MAY_SEE_THE_WORLD = {
    "eval", "eval_reference", "rlhf", "report", "study_judge", *(part.stage for part in Part),
}  # fmt: skip
MAX_TRACKED_BYTES = 2**20
DATA_PATH = re.compile(r"data/[\w/.{},*]*[\w}*]|metrics\.json|headlines\.json|study\.json")


@cache
def stages() -> dict[str, Any]:
    """Bodies of both pipeline files by stage, in order."""
    found: dict[str, Any] = {}
    for path in PIPELINES:
        here = stages_in(path)
        assert not found.keys() & here.keys()
        found |= here
    assert found.keys() >= {*NINE, "study_judge"}
    return found


PART_OF = {part.stage: part for part in Part}
"""Stage -> the part of the study that it runs."""


def data_deps(name: str) -> list[str]:
    deps = [as_pattern(dep) for dep in stages()[name]["deps"]]
    return [dep for dep in deps if dep.startswith("data/") and not dep.startswith("data/code/")]


def module_of(name: str) -> str:
    return stage_module(stages()[name]["cmd"]).removeprefix("stages.")


def source(module: str) -> ast.Module:
    return ast.parse((ROOT / "stages" / f"{module}.py").read_text("utf-8"))


def contract(module: str) -> str:
    return ast.get_docstring(source(module)) or ""


def data_paths(text: str) -> list[str]:
    """Paths in a contract, with {a,b} written out."""
    return [path for found in DATA_PATH.findall(text) for path in _expanded(found)]


def _expanded(path: str) -> list[str]:
    parts = [part.split(",") for part in re.split(r"[{}]", path)]
    return ["".join(choice) for choice in product(*parts)]


def as_pattern(entry: Any) -> str:
    """An entry of deps, outs or metrics with its template variables as wildcards."""
    text = next(iter(entry)) if isinstance(entry, dict) else str(entry)
    return re.sub(r"\$\{[^}]*\}", "*", text)


def section_of(text: str, head: str) -> str:
    """The lines of a contract that follow `reads` or `writes`."""
    found = re.search(rf"^{head}\s+(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return found.group(1) if found else ""


def covers(pattern: str, path: str) -> bool:
    """Whether a path is what the pattern names, or lies in it."""
    return fnmatch(path, pattern) or fnmatch(path, f"{pattern}/*")


@pytest.mark.parametrize("name", stages())
def test_a_stage_has_the_name_of_its_module(name: str) -> None:
    module = module_of(name)
    assert (ROOT / "stages" / f"{module}.py").is_file()
    # A module may serve more stages, whose names then begin with its own; `study` has such alone.
    assert name == module or name.startswith(f"{module}_")
    assert module in stages() or module == "study"
    assert "study" not in stages()


def test_the_stages_of_the_study_are_its_parts() -> None:
    study = stages_in(ROOT / "study" / "dvc.yaml")
    assert [name for name in study if name not in PART_OF] == ["study_pools", "study_judge"]
    assert [name for name in study if name in PART_OF] == [*PART_OF]
    files = {path.stem for path in (ROOT / "westofn" / "study" / "parts").glob("*.py")}
    assert files - {"__init__"} == {part.value for part in Part} == {part.value for part in INPUTS}
    for name, part in PART_OF.items():
        body, iteration = study[name], "${item}" if INPUTS[part].by_iteration else ""
        option = f"--iteration {iteration} " if iteration else ""
        out = part.output(iteration)
        assert [*body["outs"]] == [out]
        assert body["cmd"].strip() == (
            f"python -m stages.study --part {part} {option}--data data --out {out}"
        )


def test_the_study_runs_at_the_root_and_writes_where_the_report_does_not_read() -> None:
    main, study = map(stages_in, PIPELINES)
    assert {name for name in study if not name.startswith("study_")} == set()
    assert {body.get("wdir") for body in study.values()} == {".."}
    assert {body.get("wdir") for body in main.values()} == {None}
    outs = [as_pattern(out) for body in study.values() for out in body["outs"]]
    assert [out for out in outs if not out.startswith("data/study/")] == []


def test_every_module_of_stages_is_run_by_a_stage() -> None:
    modules = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__", "common"}
    assert modules == {module_of(name) for name in stages()}


@pytest.mark.parametrize("name", stages())
def test_a_stage_opens_with_its_contract(name: str) -> None:
    text = contract(module_of(name))
    assert f"`{module_of(name)}`" in text.splitlines()[0]
    assert section_of(text, "reads")
    assert section_of(text, "writes")


@pytest.mark.parametrize("name", stages())
def test_a_contract_names_what_dvc_knows(name: str) -> None:
    body, text = stages()[name], contract(module_of(name))
    inputs = [as_pattern(entry) for entry in body["deps"]]
    written = outs_of(name)
    stated = data_paths(section_of(text, "writes").replace("NAME", "*"))
    read = data_paths(section_of(text, "reads"))
    assert stated
    for out in written:
        assert [path for path in stated if touch(out, path)], f"{name} does not say {out}"
    if name in PART_OF:  # one contract for all parts
        for dep in data_deps(name):
            assert [path for path in read if touch(dep, path)], f"{name} does not say {dep}"
        inputs = [dep for part in PART_OF for dep in data_deps(part)]
        read = [path for path in read if not [dep for dep in inputs if touch(dep, path)]]
    for path in stated:
        assert [out for out in written if touch(out, path)], f"{name} does not write {path}"
    for path in read:
        assert [one for one in inputs if covers(one, path)], f"{name} does not depend on {path}"


def outs_of(name: str) -> list[str]:
    body = stages()[name]
    return [as_pattern(entry) for entry in [*body["outs"], *body.get("metrics", [])]]


@pytest.mark.parametrize("name", PART_OF)
def test_a_part_depends_on_its_inputs(name: str) -> None:
    assert sorted(data_deps(name)) == sorted(inputs_of(PART_OF[name]))


@pytest.mark.parametrize("name", PART_OF)
def test_a_part_reads_its_inputs_alone(name: str) -> None:
    inputs, found = inputs_of(PART_OF[name]), reached_by(PART_OF[name].module)
    assert found.files
    for file in found.files:
        inside = touch if file.endswith("*") else covers
        assert [one for one in inputs if inside(one, file)], f"{file} is not among INPUTS"
    for one in inputs:
        assert [file for file in found.files if touch(one, file)], f"{one} is not read"


def test_the_nine_stages_are_numbered_in_order() -> None:
    order = [name for name in stages_in(ROOT / "dvc.yaml") if name in NINE]
    assert tuple(order) == NINE
    for number, name in enumerate(NINE, 1):
        assert contract(name).startswith(f"Stage {number} of 9, `{name}`:")


NAME_PLUGINS = ("base_rm.loss", "student_rm.loss", "won_select.selector")
"""Parameters that may name an entry of a file in plugins/."""


@pytest.mark.parametrize("name", [name for name in stages() if name not in ("code", "check")])
def test_a_stage_depends_on_its_code_and_plugins_by_digests_and_on_no_code_by_path(
    name: str,
) -> None:
    deps = [str(dep) for dep in stages()[name]["deps"]]
    code = name if name in PART_OF else module_of(name)
    assert code in digests_of_stages(ROOT)
    command = stages()[name]["cmd"]
    reached = reached_by_grimp(stage_module(command), *part_modules(command))
    named = NAME_PLUGINS if "westofn.plugins" in reached else ()
    plugins = [key for key in named if key.partition(".")[0] in declared_of(name)]
    assert [dep for dep in deps if dep.startswith("data/code")] == [
        f"data/code/{digest}.json" for digest in (code, *plugins)
    ]
    assert [dep for dep in deps if dep.split("/")[0] in PACKAGES] == []


def test_every_digest_of_a_stage_is_read() -> None:
    read = {str(dep) for body in stages().values() for dep in body["deps"]}
    assert {f"data/code/{name}.json" for name in digests_of_stages(ROOT)} <= read


def test_code_depends_on_all_code() -> None:
    assert stages()["code"]["deps"] == sorted(PACKAGES)


@cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("stages", "westofn", cache_dir=None)


def reached_by_grimp(*modules: str) -> set[str]:
    """Modules that these import, and the packages that they lie in, whose imports count too."""
    waiting, reached = list(modules), set[str]()
    while waiting:
        name = waiting.pop()
        if name and name not in reached:
            reached.add(name)
            waiting += [name.rpartition(".")[0], *imports().find_modules_directly_imported_by(name)]
    return reached


@pytest.mark.parametrize("name", [name for name in stages() if name != "code"])
def test_the_code_of_a_stage_is_what_grimp_finds(name: str) -> None:
    command = stages()[name]["cmd"]
    modules = [stage_module(command), *part_modules(command)]
    assert Code(ROOT).reached(*modules) == reached_by_grimp(*modules)


def test_only_study_and_plugins_load_code_by_name() -> None:
    sources = [path for package in ("stages", "westofn") for path in (ROOT / package).rglob("*.py")]
    by_name = r"import_module|__import__|runpy|spec_from_file"
    users = {path.stem for path in sources if re.search(by_name, path.read_text("utf-8"))}
    assert users == {*LOADED_BY_NAME, "plugins"} == {"study", "plugins"}


def test_files_beside_the_code_are_digested_as_templates() -> None:
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {Path(name).suffix for name in listed} - {".py", ".typed"} == TEMPLATES


def test_the_pipeline_reads_as_a_table_of_contents() -> None:
    assert len((ROOT / "dvc.yaml").read_text("utf-8").splitlines()) <= 300
    assert [name for name, body in stages().items() if not body.get("desc")] == []


class _Reads(ast.NodeVisitor):
    """The dotted keys of params.yaml that a stage loads, and uses that hide what is read.

    `load_section(X)` reads the section of X, and `load_section(X).name` that value of it; of
    `load_params()`, attributes are what is read.
    """

    def __init__(self, module: ast.Module) -> None:
        self.keys: set[str] = set()
        self.hidden: list[int] = []
        self.studies = False
        self._own = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
        self._imported = {
            alias.name: getattr(import_module(str(node.module)), alias.name)
            for node in module.body
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("westofn.params.")
            for alias in node.names
        }
        self.visit(module)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain, base = [node.attr], node.value
        while isinstance(base, ast.Attribute):
            chain.append(base.attr)
            base = base.value
        names = [part for part in reversed(chain) if part != "model_dump"]
        if section := self._section(base):
            self.keys.add(".".join([section.key, *names]))
        elif self._is_whole(base):
            self.keys.add(".".join(names))
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if section := self._section(node):
            self.keys.add(section.key)
        elif name in ("load_seed", "load_loop"):
            self.keys.add(name.removeprefix("load_"))
        elif name == "StudyInputs":
            self.studies = True  # what is read of them there, tests/repo/study.py finds
        else:
            if name not in self._own:  # whose `params` is looked at where it is defined
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                self.hidden += [node.lineno for value in given if self._is_whole(value)]
            self.generic_visit(node)

    def _section(self, node: ast.AST) -> type[Section] | None:
        """The section that a call of load_section reads."""
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "load_section":
            section: type[Section] = self._imported[ast.unparse(node.args[0])]
            return section
        return None

    def _is_whole(self, node: ast.AST) -> bool:
        """Whether it is all of params.yaml."""
        return "load_params" in self._imported and ast.unparse(node) in ("params", "load_params()")


def reads_of(module: str, part: str = "") -> set[str]:
    """Keys that a stage reads itself, by another stage's module, or through StudyInputs."""
    tree = source(module)
    found = _Reads(tree)
    assert found.hidden == [], f"stages/{module}.py hides what it reads, lines {found.hidden}"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stages."):
            found.keys |= reads_of(str(node.module).removeprefix("stages."))
    if found.studies:
        study = reached_by(f"stages.{module}", *([part] if part else []))
        assert study.hidden == [], f"westofn/study hides what it reads: {study.hidden}"
        # All of them key the scratch folder of a part, which decides no result.
        return (found.keys - {""} if part else found.keys) | study.keys
    return found.keys


@pytest.mark.parametrize("name", [name for name in stages() if name != "check"])
def test_a_stage_declares_the_parameters_that_it_reads(name: str) -> None:
    declared = declared_of(name)
    read = reads_of(module_of(name), *part_modules(stages()[name]["cmd"]))
    assert read
    read |= {source for key in read for source in sources_of(key)}
    for key in read:
        assert [one for one in declared if f"{key}.".startswith(f"{one}.")], f"{key} undeclared"
    for one in declared:
        assert [key for key in read if f"{key}.".startswith(f"{one}.")], f"{one} is not read"


def sources_of(key: str) -> set[str]:
    """Keys of shared sections from which the value at a key may come."""
    name, *inner = key.split(".")
    sources = set()
    for section, field in SECTIONS[name].defaults if name in SECTIONS else ():
        if not inner or inner[0] in (section.model_fields if not field else [field]):
            sources.add(".".join([section.key, *(inner[1:] if field else inner)]))
    return sources


def test_what_a_section_takes_from_others_is_found() -> None:
    assert sources_of("rlhf") == {"optimiser", "lora"}
    assert sources_of("student_rm.readout") == {"reward.readout"}
    assert sources_of("student_rm.learner") == {"reward.learner"}
    assert sources_of("student_rm.covariance_power") == set()
    assert sources_of("sft.lora.rank") == {"lora.rank"}


def declared_of(name: str) -> set[str]:
    """Keys under `params`; study/dvc.yaml names the file, which is not beside it."""
    entries = stages()[name].get("params", [])
    if "wdir" in stages()[name]:
        (entry,) = entries
        entries = entry["params.yaml"]
    return {str(key) for key in entries}


def test_what_is_read_through_study_inputs_is_found() -> None:
    teachers = reached_by("westofn.study.parts.teachers")
    assert teachers.keys >= {"base_rm", "student_rm", "seed", "study.deep_candidates"}
    assert teachers.files >= {"data/study/pools/*", "data/loop/k0/rm", "data/prepared"}
    assert "rlhf" in reached_by("westofn.study.parts.overoptimisation").keys
    whole = Reached(ast.parse("f(lab.inputs.params)"))
    assert (whole.keys, whole.hidden) == (set(), ["f(lab.inputs.params)"])


def test_check_depends_on_all_parameters() -> None:
    assert [dict(entry) for entry in stages()["check"]["params"]] == [{"params.yaml": None}]


def test_only_stages_and_the_command_line_read_params() -> None:
    files = sorted((ROOT / "westofn").rglob("*.py"))
    assert len(files) > 50
    users = {
        path.relative_to(ROOT / "westofn").parts[0]
        for path in files
        if re.search("load_(params|section|seed|loop)", path.read_text("utf-8"))
    }
    assert users == {"__main__.py", "params"}


def test_only_measurements_depend_on_the_world() -> None:
    seen = {name for name, body in stages().items() if "data/world" in map(str, body["deps"])}
    assert seen
    assert seen <= MAY_SEE_THE_WORLD
    trainers = set(stages()) - MAY_SEE_THE_WORLD - {"code", "check", "prepare", "report"}
    assert trainers >= {"sft", "base_rm", "reference_rm", "autorater", "student_rm"}
    for name in trainers:
        deps = data_deps(name)
        assert deps
        assert [dep for dep in deps if "world" in dep] == []


def test_layers_hold() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"Contracts: (\d+) kept, (\d+) broken", done.stdout)
    assert found
    assert int(found.group(1)) >= 4
    assert int(found.group(2)) == 0


def test_constraints_name_versions_and_no_hosts() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert len(pins) > 50
    assert [line for line in pins if not re.match(r"[a-z0-9][a-z0-9._-]*==\S+", line)] == []
    hosts = r"://|--(?:extra-)?index|--find-links|--trusted-host|\w\.(?:org|com|net|io)\b"
    assert [line for line in lines if re.search(hosts, line)] == []


def test_no_large_file_is_tracked() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    tracked = [ROOT / name for name in listed.split("\0") if name]
    assert len(tracked) > 100
    large = [
        path.name for path in tracked if path.is_file() and path.stat().st_size > MAX_TRACKED_BYTES
    ]
    assert large == []
