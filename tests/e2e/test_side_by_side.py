"""`python -m westofn repro` does what `dvc repro` does, with several stages at a time."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Clone
from tests.e2e.test_code import SELECTION, STUBS, add_code, put_stubs, ran, stale

# The tests go on from one another, in their order and in one clone.
pytestmark = pytest.mark.e2e
REPRO = ("python", "-m", "westofn", "repro", "--jobs", "2")


@pytest.fixture(scope="module")
def clone(make_clone: Callable[..., Clone]) -> Clone:
    clone = make_clone()
    put_stubs(clone.root)
    clone.commit("stubs")
    return clone


def test_every_stage_runs_once_and_dvc_finds_nothing_to_do(clone: Clone) -> None:
    output = clone.run(*REPRO)
    assert ran(output) == {"code", *STUBS} - {"check"}
    assert output.count("Running stage") == len({"code", *STUBS})
    assert "To track the changes" not in output
    assert json.loads(clone.run("dvc", "status", "--json")) == {}
    assert ran(clone.run("dvc", "repro")) == set()
    assert "all stages are up to date" in clone.run(*REPRO)


def test_a_change_of_code_runs_what_follows_it(clone: Clone) -> None:
    add_code(clone, SELECTION, "ADDED = 1")
    assert ran(clone.run(*REPRO)) == {"code", "won_select", "filter", "student_rm"}
    assert stale(clone) == set()


def test_a_failed_stage_ends_the_run_with_one_line(clone: Clone) -> None:
    add_code(clone, SELECTION, "ADDED = 2")
    stub = clone.root / "stub.py"
    content = stub.read_text(encoding="utf-8")
    fails = "import sys\nif 'data/loop/k1/pairs' == sys.argv[-1]: sys.exit(1)\n"
    stub.write_text(fails + content, encoding="utf-8")
    output = clone.run(*REPRO, code=2)
    assert ran(output) == {"code", "won_select"}, output
    assert output.splitlines()[-1].startswith("westofn: stage won_select@k1 failed")
    stub.write_text(content, encoding="utf-8")
    assert ran(clone.run(*REPRO)) == {"won_select", "filter", "student_rm"}


def test_a_sweep_compares_its_members_and_survives_one_that_fails(clone: Clone) -> None:
    stub = clone.root / "stub.py"
    content = stub.read_text(encoding="utf-8")
    fails = "import sys\nif 'quantile: 0.25' in open('params.yaml').read(): sys.exit('no 0.25')\n"
    stub.write_text(fails + content, encoding="utf-8")
    clone.commit("a stub that refuses a quantile")
    clone.run(*REPRO)
    command = ("python", "-m", "westofn", "sweep", "-S", "filter.quantile=0.25,0.5,0.75")
    output = clone.run(*command, "--devices", "0,1", code=2)
    lines = output.splitlines()
    assert sum(" done after " in line for line in lines) == 2
    assert any("sweep_filter.quantile-0.25: failed: experiment " in line for line in lines)
    assert lines[-1].startswith("westofn: 1 of 3 members failed: sweep_filter.quantile-0.25; mend")
    names = set(clone.run("dvc", "exp", "list", "--name-only").split())
    assert names == {"sweep_filter.quantile-0.5", "sweep_filter.quantile-0.75"}
    stub.write_text(content, encoding="utf-8")
