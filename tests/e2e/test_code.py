"""What reruns after a change of code, in a pipeline of `code` and of stubs for the first stages.

A stub writes a digest of all that its stage depends on, so whatever follows a rerun stage reruns.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.e2e.conftest import Clone
from tests.tiny import change

# The tests go on from one another, in their order and in one clone.
pytestmark = pytest.mark.e2e

STUB = '''
"""Write a digest of files and folders: python stub.py INPUT ... -- OUTPUT ..."""
import hashlib
import sys
from pathlib import Path

cut = sys.argv.index("--")
paths = [path for name in sys.argv[1:cut] for path in sorted([Path(name), *Path(name).rglob("*")])]
digests = [hashlib.md5(path.read_bytes()).hexdigest() for path in paths if path.is_file()]
for name in sys.argv[cut + 1:]:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(" ".join([name, *digests]))
'''
STUBS = ("check", "prepare", "sft", "base_rm", "sample", "won_select", "filter", "student_rm")
SELECTION = "westofn/core/selection.py"
DRY_RUN = ("python", "-m", "stages.code", "--out", "data/code", "--dry-run")


def put_stubs(root: Path) -> None:
    """Leave `code` and some other stages, whose commands become stubs."""
    (root / "stub.py").write_text(STUB, encoding="utf-8")
    shutil.rmtree(root / "study")
    yaml = YAML()
    document = yaml.load((root / "dvc.yaml").read_text(encoding="utf-8"))
    stages = {name: document["stages"][name] for name in ("code", *STUBS)}
    for name in STUBS:
        body = stages[name].get("do", stages[name])
        read = [] if name == "check" else body["deps"]  # it writes a constant
        body["cmd"] = " ".join(["python stub.py", *read, "--", *body["outs"]])
    with (root / "dvc.yaml").open("w", encoding="utf-8") as handle:
        yaml.dump({"stages": stages}, handle)


@pytest.fixture(scope="module")
def clone(make_clone: Callable[..., Clone]) -> Clone:
    """After `dvc repro`, committed."""
    clone = make_clone()
    put_stubs(clone.root)
    clone.run("dvc", "remote", "add", "-d", "storage", "../storage")
    output = clone.run("dvc", "repro")
    assert ran(output) == {"code", *STUBS} - {"check"}
    clone.commit("reproduced")
    return clone


def ran(output: str) -> set[str]:
    """The stages that ran but `check`, which nothing follows."""
    return set(re.findall(r"Running stage '([^'@]+)", output)) - {"check"}


def stale(clone: Clone) -> set[str]:
    """The stages but `check` that `dvc status` names."""
    status = json.loads(clone.run("dvc", "status", "--json"))
    return {name.split("@")[0] for name in status} - {"check"}


def edit(clone: Clone, path: str, old: str, new: str) -> None:
    text = (clone.root / path).read_text(encoding="utf-8")
    assert old in text
    (clone.root / path).write_text(text.replace(old, new, 1), encoding="utf-8")


def add_code(clone: Clone, path: str, line: str) -> None:
    with (clone.root / path).open("a", encoding="utf-8") as handle:
        handle.write(f"\n{line}\n")


def test_comments_and_docstrings_run_code_alone(clone: Clone) -> None:
    edit(clone, "westofn/core/seeds.py", '"""', '"""In other words: ')
    edit(clone, "stages/sft.py", "\nimport", "\n# A comment.\nimport")
    assert clone.run(*DRY_RUN) == ""
    assert ran(clone.run("dvc", "repro")) == {"code"}


def test_status_foresees_what_reruns_once_code_has_run(clone: Clone) -> None:
    add_code(clone, SELECTION, "ADDED = 1")
    before = (clone.root / "data/code/won_select.json").read_bytes()
    assert f"won_select: {SELECTION}\n" in clone.run(*DRY_RUN)
    assert (clone.root / "data/code/won_select.json").read_bytes() == before
    assert stale(clone) == {"code"}
    assert ran(clone.run("dvc", "repro", "--single-item", "won_select@k1")) == set()
    assert ran(clone.run("dvc", "repro", "code")) == {"code"}
    assert stale(clone) == {"won_select"}


def test_a_change_that_alters_no_result_is_accepted_by_commit(clone: Clone) -> None:
    clone.run("dvc", "commit", "--force", "won_select@k1")
    assert ran(clone.run("dvc", "repro")) == set()
    clone.commit("accepted")


def test_a_change_of_code_reruns_what_imports_it_and_what_follows(clone: Clone) -> None:
    """First in an experiment's copy; the workspace then takes the results from the cache."""
    add_code(clone, SELECTION, "ADDED = 2")
    output = clone.run("dvc", "exp", "run", "--temp")
    assert ran(output) == {"code", "won_select", "filter", "student_rm"}
    assert ran(clone.run("dvc", "repro")) == set()
    clone.commit("changed")
    clone.run("dvc", "push")


def test_a_fresh_clone_with_the_remote_reruns_nothing(clone: Clone) -> None:
    clone.run("git", "clone", "-q", ".", "../pulled")
    pulled = Clone(clone.root.parent / "pulled")
    pulled.run("dvc", "pull")
    assert (pulled.root / "data/code/sft.json").is_file()
    assert ran(pulled.run("dvc", "repro")) == set()
    assert pulled.run("git", "status", "--short") == ""


def test_a_fresh_clone_fetches_what_a_change_of_code_needs(clone: Clone) -> None:
    clone.run("git", "clone", "-q", ".", "../changed")
    changed = Clone(clone.root.parent / "changed")
    add_code(changed, "westofn/core/filtering.py", "ADDED = 1")
    assert ran(changed.run("dvc", "repro", "--pull")) == {"code", "filter", "student_rm"}


LOSS = """
from westofn.core.losses import Loss


def _hinge(margin, p_chosen, settings):
    return (settings.loss_margin - margin).clamp_min(0).mean()


added = Loss(_hinge)
"""
SELECTOR = """
def added(margins, uniforms):
    first = margins.new_zeros(len(margins)).long()
    return first, first + margins.shape[-1] - 1
"""


@pytest.mark.parametrize(
    ("section", "key", "text", "reruns"),
    [
        ("won_select", "selector", SELECTOR, {"won_select", "filter", "student_rm"}),
        ("student_rm", "loss", LOSS, {"student_rm"}),
    ],
)
def test_a_plugin_of_a_few_lines_reruns_nothing_above_the_stage_that_names_it(
    section: str, key: str, text: str, reruns: set[str], clone: Clone
) -> None:
    assert len(text.splitlines()) < 30
    plugin = clone.root / "plugins" / f"own_{key}.py"
    plugin.write_text(text, encoding="utf-8")
    assert ran(clone.run("dvc", "repro")) == {"code"}  # no parameter names it yet
    change(clone.root / "params.yaml", {section: {key: f"own_{key}:added"}})
    assert ran(clone.run("dvc", "repro")) == {"code"} | reruns
    plugin.write_text(f"{text}CHANGED = 1\n", encoding="utf-8")
    assert ran(clone.run("dvc", "repro")) == {"code"} | reruns
    plugin.write_text(f"# A comment.\n{text}CHANGED = 1\n", encoding="utf-8")
    assert ran(clone.run("dvc", "repro")) == {"code"}
