"""The plan: work of the stages, the line through two probes, and a small run of every stage."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.stages.pipeline import ROOT, Tiny
from westofn.artifacts.candidates import CANDIDATES
from westofn.execution.side_by_side import PipelineStage
from westofn.params.whole import Params, load_params
from westofn.planning import probe as probing
from westofn.planning.estimate import estimate, extended, makespan
from westofn.planning.probe import Probed
from westofn.planning.work import Counts, work_of

COUNTS = Counts(
    sft_validation=10,
    half=50,
    train=100,
    validation=40,
    autorater=0,
    test=300,
    unlabeled=60,
    test_prompts=20,
)
DATA_SIZED = ("sample@k1", "won_select@k1", "filter@k1", "eval_pool", "eval@k1", "student_rm@k1")


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.mark.parametrize("stage", DATA_SIZED)
def test_more_rows_are_more_work(stage: str, params: Params) -> None:
    doubled = replace(COUNTS, unlabeled=120, test_prompts=40, test=600)
    assert work_of(stage, params, doubled) > work_of(stage, params, COUNTS) > 0


@pytest.mark.parametrize("stage", ["sft", "base_rm", "rlhf@k1"])
def test_steps_are_work(stage: str, params: Params) -> None:
    section = stage.partition("@")[0]
    recipe = getattr(params, section)
    longer = params.model_copy(
        update={section: recipe.model_copy(update={"steps": 2 * recipe.steps})}
    )
    assert work_of(stage, longer, COUNTS) > 1.5 * work_of(stage, params, COUNTS)


def test_stages_without_a_size_of_their_own_have_no_work(params: Params) -> None:
    assert work_of("report", params, COUNTS) == work_of("autorater", params, COUNTS) == 0


def test_a_stage_that_ran_faster_in_the_larger_probe_is_as_long_as_that() -> None:
    small = Probed(work=10, seconds=5.0, memory=1, device_memory=0, size=8)
    whole = extended(small, replace(small, work=20, seconds=4.0), work=1000)
    assert whole.seconds == 4.0


def test_one_job_takes_the_sum() -> None:
    seconds = {"a": 1.0, "b": 2.0, "c": 3.5}
    needs = {"a": (), "b": ("a", "prepare"), "c": ("a",), "prepare": ()}
    assert makespan(seconds, needs, 1) == 6.5
    assert makespan(seconds, needs, 2) == 4.5


def _run_here(
    command: Sequence[str], environment: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    outcome = Tiny(folder).call_with(command[2], *command[3:])
    return subprocess.CompletedProcess(command, outcome.code, outcome.stdout + outcome.stderr)


def test_every_stage_runs_in_a_probe(made: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stage of the tiny repository, in this process and in the order of dvc.yaml."""
    monkeypatch.chdir(made.root)
    monkeypatch.setattr(probing, "run_group", _run_here)
    params, earlier = load_params(), made.files()
    stages, before = {}, frozenset[str]()
    for name, stage in made.stages.items():
        command = " ".join(["python", "-m", stage.module, *stage.arguments])
        stages[name] = PipelineStage(before, command, stage.outs)
        before = frozenset({name})
    begun: list[str] = []
    seen: dict[str, set[str]] = {}

    def adapt(name: str, root: Path) -> None:
        adapted(name, root)
        if name.startswith("sample"):
            frame = CANDIDATES.read(root / "data/loop/k1/candidates.parquet")
            seen["finish"] = set(frame["finish_reason"])

    adapted = probing._adapt
    monkeypatch.setattr(probing, "_adapt", adapt)
    plan = estimate(
        params, Counts.read(Path("data/prepared")), stages, 1, load_params, begun.append
    )
    assert set(plan) == {name for name in stages if name.partition("@")[0] not in probing.UNPROBED}
    assert seen["finish"] == {"stop"}
    assert all(stage.seconds > 0 and stage.memory > 2**26 for stage in plan.values())
    assert plan["sample@k1"].size > 0
    assert made.files() == earlier
    assert not list(Path(".scratch").glob("plan-*"))
