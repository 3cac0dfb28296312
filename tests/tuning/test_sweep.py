"""Grids of settings as experiments: names, devices, members that fail."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from westofn.errors import ParameterError
from westofn.execution.experiments import Experiment, ExperimentError
from westofn.tuning import sweep
from westofn.tuning.sweep import SweepError, check_outcomes, members, parse_devices, run_members


class TestMembers:
    def test_the_last_setting_varies_fastest_and_names_say_what_varies(self) -> None:
        grid = members(["filter.quantile=0,0.5", "seed=1,2", "sample.n=8"], ["student_rm@k1"])
        assert [member.name for member in grid] == [
            "sweep_filter.quantile-0_seed-1",
            "sweep_filter.quantile-0_seed-2",
            "sweep_filter.quantile-0.5_seed-1",
            "sweep_filter.quantile-0.5_seed-2",
        ]
        assert grid[2].settings == {"filter.quantile": "0.5", "seed": "1", "sample.n": "8"}
        assert {member.targets for member in grid} == {("student_rm@k1",)}

    def test_the_grammar_is_that_of_dvc(self) -> None:
        (added,) = members(["+student_rm.steps=60"])
        assert (added.name, added.settings) == (
            "sweep_student_rm.steps-60",
            {"+student_rm.steps": "60"},
        )
        assert [member.settings["seed"] for member in members(["seed=range(1,4)"])] == [
            "1",
            "2",
            "3",
        ]

    def test_names_are_git_references(self) -> None:
        names = [member.name for member in members(["sft.model='a/b c',../x@y.lock"])]
        assert names == ["sweep_sft.model-_a_b_c", "sweep_sft.model-_x_y"]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (["filter.quantile"], "-S: .*; write KEY=VALUE,VALUE"),
            (["seed=1,1"], "-S: two members are sweep_seed-1; give each value once"),
            (["seed=" + "9" * 150 + ",2"], "-S: the name sweep_seed-9.* 161 characters, at most"),
        ],
    )
    def test_what_cannot_be_run_is_refused(self, settings: list[str], message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            members(settings)

    def test_devices_are_distinct(self) -> None:
        assert parse_devices("0, 2") == ["0", "2"]
        assert parse_devices("") == []
        for text in ("0,0", "0,"):
            with pytest.raises(ParameterError, match="needs distinct devices"):
                parse_devices(text)


class Elsewhere:
    """Stands for DVC; the member whose seed is 2 fails."""

    def __init__(self, together: int = 1) -> None:
        self.devices: list[str | None] = []
        self.most = self.running = 0
        self.lock, self.meeting = threading.Lock(), threading.Barrier(together)

    def run(self, experiment: Experiment, variables: Mapping[str, str]) -> str:
        with self.lock:
            self.devices.append(variables.get("CUDA_VISIBLE_DEVICES"))
            self.running += 1
            self.most = max(self.most, self.running)
        self.meeting.wait(timeout=10)
        with self.lock:
            self.running -= 1
        if experiment.settings["seed"] == "2":
            raise ExperimentError("experiment 2: dvc ended with exit code 255")
        return "revision"


def test_a_member_that_fails_leaves_the_others_running(monkeypatch: pytest.MonkeyPatch) -> None:
    dvc = Elsewhere()
    monkeypatch.setattr(sweep, "run_experiment", dvc.run)
    outcomes = run_members(members(["seed=1,2,3"]), jobs=1)
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    with pytest.raises(SweepError, match="1 of 3 members failed: sweep_seed-2; mend"):
        check_outcomes(outcomes)
    check_outcomes(outcomes[:1])


def test_members_that_run_together_have_devices_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dvc = Elsewhere(together=2)
    monkeypatch.setattr(sweep, "run_experiment", dvc.run)
    run_members(members(["seed=1,3,4,5"]), jobs=2, devices=["0", "1"])
    assert dvc.most == 2
    assert {frozenset(dvc.devices[at : at + 2]) for at in (0, 2)} == {frozenset({"0", "1"})}


def test_the_first_runs_alone_where_others_take_its_stages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dvc = Elsewhere()
    monkeypatch.setattr(sweep, "run_experiment", dvc.run)
    order: list[tuple[str, int]] = []
    outcomes = run_members(
        members(["seed=2,1"]),
        jobs=2,
        together=False,
        ended=lambda outcome: order.append((outcome.name, dvc.running)),
    )
    assert (dvc.most, dvc.devices) == (1, [None, None])
    assert [name for name, _ in order] == ["sweep_seed-2", "sweep_seed-1"]
    assert outcomes[0].seconds >= 0
