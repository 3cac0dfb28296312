"""What reruns after a change of code, in a pipeline whose stages are `code` and stubs.

A stub writes a digest of all that its stage depends on, so whatever follows a rerun stage reruns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.e2e.conftest import Clone

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
    text = ", ".join(f'"{digest}"' for digest in [name, *digests])
    Path(name).write_text(f'{{"read": [{text}]}}')
'''
READ_SELECTION = {
    "won_select@k1", "eval@k1",
    "eval_reference@base", "eval_reference@hf50", "eval_reference@hf100", "eval_reference@prior",
}  # fmt: skip
FOLLOW_SELECTION = {"filter@k1", "student_rm@k1", "rlhf@k1", "report"}
DRY_RUN = ("python", "-m", "stages.code", "--out", "data/code", "--dry-run")


def put_stubs(root: Path) -> None:
    """Replace every command of dvc.yaml but that of `code`."""
    (root / "stub.py").write_text(STUB, encoding="utf-8")
    yaml = YAML()
    document = yaml.load((root / "dvc.yaml").read_text(encoding="utf-8"))
    for name, stage in document["stages"].items():
        body = stage.get("do", stage)
        outs = [*body["outs"], *(next(iter(entry)) for entry in body.get("metrics", []))]
        if name != "code":
            body["cmd"] = " ".join(["python stub.py", *body["deps"], "--", *outs])
    with (root / "dvc.yaml").open("w", encoding="utf-8") as handle:
        yaml.dump(document, handle)


@pytest.fixture(scope="module")
def clone(make_clone: Callable[..., Clone]) -> Clone:
    """After `dvc repro` and `dvc push`, committed."""
    clone = make_clone()
    put_stubs(clone.root)
    clone.run("dvc", "remote", "add", "-d", "storage", "../storage")
    clone.run("dvc", "repro")
    clone.commit("reproduced")
    clone.run("dvc", "push")
    return clone


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def stale(clone: Clone) -> set[str]:
    """The stages of dvc.yaml that `dvc status` names."""
    return set(json.loads(clone.run("dvc", "status", "--json", "dvc.yaml")))


def edit(clone: Clone, path: str, old: str, new: str) -> None:
    text = (clone.root / path).read_text(encoding="utf-8")
    assert old in text
    (clone.root / path).write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_second_repro_runs_nothing(clone: Clone) -> None:
    assert ran(clone.run("dvc", "repro")) == set()


def test_comments_and_docstrings_run_code_alone(clone: Clone) -> None:
    edit(clone, "westofn/core/seeds.py", '"""', '"""In other words: ')
    edit(clone, "stages/sft.py", "import", "# A comment.\nimport")
    assert clone.run(*DRY_RUN) == ""
    assert ran(clone.run("dvc", "repro")) == {"code"}


def test_status_foresees_what_reruns_once_code_has_run(clone: Clone) -> None:
    with (clone.root / "westofn/core/selection.py").open("a", encoding="utf-8") as handle:
        handle.write("\nADDED = 1\n")
    assert stale(clone) == {"code"}
    foreseen = re.findall(r"^(\w+): westofn/core/selection.py$", clone.run(*DRY_RUN), re.MULTILINE)
    assert {name for name in foreseen if not name.startswith("study_")} == {"won_select", "eval"}
    assert stale(clone) == {"code"}, "a dry run writes nothing"
    assert ran(clone.run("dvc", "repro", "--single-item", "won_select@k1")) == set()
    assert ran(clone.run("dvc", "repro", "code")) == {"code"}
    assert stale(clone) == READ_SELECTION


def test_a_change_that_alters_no_result_can_be_committed(clone: Clone) -> None:
    lock = (clone.root / "dvc.lock").read_bytes()
    clone.run("dvc", "commit", "--force", *(name.split("@")[0] for name in READ_SELECTION))
    assert ran(clone.run("dvc", "repro")) == set()
    (clone.root / "dvc.lock").write_bytes(lock)


def test_a_change_of_code_reruns_what_imports_it_and_what_follows(clone: Clone) -> None:
    """In an experiment's copy, which has no outputs but those of the cache."""
    output = clone.run("dvc", "exp", "run", "--temp", "-n", "added")
    assert ran(output) == READ_SELECTION | FOLLOW_SELECTION
    assert stale(clone) == READ_SELECTION, "the workspace is as it was"
    output = clone.run("dvc", "repro")
    assert ran(output) == set(), "all of them come from the cache"
    clone.commit("added")
    clone.run("dvc", "push")


def test_a_parameter_reruns_its_stage_and_not_code(clone: Clone) -> None:
    output = clone.run("dvc", "exp", "run", "-S", "filter.quantile=0.5")
    assert "filter@k1" in ran(output)
    assert not ran(output) & {"code", "sft", "won_select@k1"}
    clone.run("git", "checkout", "-q", ".")


def test_a_fresh_clone_with_the_remote_reruns_nothing(clone: Clone) -> None:
    clone.run("git", "clone", "-q", ".", "../pulled")
    pulled = Clone(clone.root.parent / "pulled")
    pulled.run("dvc", "pull", "dvc.yaml")
    assert ran(pulled.run("dvc", "repro")) == set()
    assert (pulled.root / "data/code/sft.json").is_file()
    assert pulled.run("git", "status", "--short") == ""


def test_a_fresh_clone_fetches_what_a_change_of_code_needs(clone: Clone) -> None:
    clone.run("git", "clone", "-q", ".", "../changed")
    changed = Clone(clone.root.parent / "changed")
    edit(changed, "westofn/report/report.css", "{", " {")
    assert ran(changed.run("dvc", "repro", "--pull")) == {"code", "report"}
