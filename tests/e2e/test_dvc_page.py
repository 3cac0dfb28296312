"""The commands of docs/dvc.md, run in their order in a pipeline of stubs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Clone
from tests.e2e.test_code import STUBS, put_stubs, ran
from westofn.study.records import Study, read_study, write_study

# The tests go on from one another, in their order and in one clone.
pytestmark = pytest.mark.e2e
SECTIONS = re.split(r"^## ", (ROOT / "docs/dvc.md").read_text("utf-8"), flags=re.M)[1:]
HALF = "quantile: 0.5"


@pytest.fixture(scope="module")
def clone(make_clone: Callable[..., Clone]) -> Iterator[Clone]:
    clone = make_clone()
    put_stubs(clone.root)
    clone.run("git", "init", "-q", "--bare", "../bare")
    clone.commit("stubs")
    yield clone
    clone.run("dvc", "queue", "stop", "--kill")


def blocks(title: str) -> list[str]:
    """Return the code blocks of a section of the page."""
    (section,) = [section for section in SECTIONS if section.startswith(title)]
    return re.findall(r"^```sh\n(.*?)^```", section, flags=re.M | re.S)


def run(clone: Clone, block: str) -> str:
    """Run a block as one script that ends at its first error."""
    return clone.run("bash", "-ec", block)


def test_another_machine_takes_what_is_on_the_remote(clone: Clone) -> None:
    first, second = blocks("A remote")
    assert ran(run(clone, first)) == {"code", *STUBS} - {"check"}
    assert ran(run(clone, second)) == set()
    elsewhere = clone.root.parent / "elsewhere"
    assert (elsewhere / "data/loop/k0/policy").exists()
    assert not (elsewhere / "data/loop/k1/rm").exists()


def test_a_queue_runs_a_grid(clone: Clone) -> None:
    first, second = blocks("Experiments in a queue")
    run(clone, first)
    deadline = time.monotonic() + 300
    while (status := clone.run("dvc", "queue", "status")).count("Success") < 2:
        assert time.monotonic() < deadline, status
        assert "Failed" not in status
        time.sleep(2)
    listed = run(clone, second)
    assert "filter.quantile 0.25" in " ".join(listed.split())


def test_experiments_travel_by_a_git_remote(clone: Clone) -> None:
    (block,) = blocks("Experiments on a git remote")
    lines = run(clone, block).splitlines()
    assert any("half" in line for line in lines)
    assert HALF in clone.run("git", "show", "try-half:params.yaml")


def test_a_conflict_in_the_lock_is_settled_by_a_run(clone: Clone) -> None:
    block, _ = blocks("When two branches")
    clone.run("git", "checkout", "-q", "params.yaml", "dvc.lock")
    params = clone.root / "params.yaml"
    text = params.read_text("utf-8")
    ours = re.sub(r"(?m)^(  quantile:) .*$", r"\1 0.75", text)
    assert ours != text
    params.write_text(ours, encoding="utf-8")
    clone.run("dvc", "repro")
    output = run(clone, block)
    assert "CONFLICT" in output
    assert "quantile: 0.75" in params.read_text("utf-8")
    assert clone.run("git", "status", "--short") == ""
    assert clone.run("dvc", "status") == "Data and pipelines are up to date.\n"
    assert Path(clone.root / "data/loop/k1/rm").exists()


def test_a_conflict_in_the_study_is_settled_by_one_side(clone: Clone) -> None:
    _, block = blocks("When two branches")
    path = clone.root / "study.json"
    study = read_study(path)

    def commit(*runs: int) -> None:
        seeds = [study.seeds[run] for run in runs]
        write_study(Study(seeds, [study.runs[run] for run in runs], study.world), path)
        clone.commit(f"seeds {seeds}")

    clone.run("git", "checkout", "-q", "-b", "other-seeds")
    commit(0, 1)
    clone.run("git", "checkout", "-q", "-")
    commit(2, 3)
    assert "CONFLICT" in run(clone, block)
    assert clone.run("git", "status", "--short") == ""
    assert read_study(path).seeds == study.seeds[2:4]
