"""Seeds to means, intervals and paired differences; expected numbers by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from westofn.study.catalogue import Group
from westofn.study.means import Cell, cell, main_rows, rows, table, table_difference
from westofn.study.parts import Part
from westofn.study.records import (
    HEADLINE_PARTS,
    PARTS,
    Run,
    Study,
    collect,
    read_study,
    write_study,
)

T2, T1 = 4.302653, 12.706205  # Student's t, 0.975, of two and of one degree of freedom
GROUP = Group("g", "G", "note", Part.BASELINES, {"hf50": "HF50", "west": "West", "rlcd": "RLCD"})


def run(accuracies: Mapping[str, float], **tables: list[dict[str, Any]]) -> Run:
    arms = {arm: {"accuracy": value} for arm, value in accuracies.items()}
    return {"main": dict(arms), "arms": {"baselines": arms}, "tables": tables}


class TestCell:
    def test_three_seeds(self) -> None:
        found = cell([1.0, 2.0, 3.0])  # standard deviation 1
        assert found.mean == 2.0
        assert found.half == pytest.approx(T2 / 3**0.5, rel=1e-6)
        assert (found.low, found.high) == (2.0 - found.half, 2.0 + found.half)  # type: ignore[operator]

    def test_one_seed_has_no_interval(self) -> None:
        assert cell([0.5]) == Cell(0.5, None)
        assert cell([0.5]).verdict == "unknown, one seed"

    @pytest.mark.parametrize(
        ("values", "verdict"),
        [
            ([1.0, 1.1], "above"),  # 1.05 ± 12.7 × 0.05 = 0.64
            ([-1.0, -1.1], "below"),
            ([1.0, 2.0], "not told apart"),  # 1.5 ± 12.7 × 0.5 = 6.35
            ([0.0, 0.0], "not told apart"),
        ],
    )
    def test_an_effect_is_an_interval_without_zero(self, values: list[float], verdict: str) -> None:
        assert cell(values).verdict == verdict


class TestRows:
    RUNS = (run({"hf50": 0.6, "west": 0.7}), run({"hf50": 0.8, "west": 0.92, "rlcd": 0.5}))

    def test_differences_are_paired_by_seed(self) -> None:
        _, west = rows(self.RUNS, GROUP)
        found = west.differences["accuracy"]  # of 0.10 and 0.12, whose standard error is 0.01
        assert found.mean == pytest.approx(0.11)
        assert found.half == pytest.approx(T1 * 0.01, rel=1e-5)
        assert west.means["accuracy"].mean == pytest.approx(0.81)
        assert west.means["accuracy"].half == pytest.approx(T1 * 0.11, rel=1e-5)

    def test_the_reference_has_no_difference_to_itself(self) -> None:
        assert rows(self.RUNS, GROUP)[0].differences == {}

    def test_an_arm_that_a_seed_lacks_is_left_out(self) -> None:
        assert [row.arm for row in rows(self.RUNS, GROUP)] == ["hf50", "west"]
        assert [row.arm for row in rows(self.RUNS[1:], GROUP)] == ["hf50", "west", "rlcd"]

    def test_a_part_that_no_seed_has_is_no_row(self) -> None:
        other = Group("o", "O", "note", Part.SIZE, {"wide": "W"})
        assert rows(self.RUNS, other) == []

    def test_without_the_reference_there_are_means_alone(self) -> None:
        (row,) = rows([run({"west": 0.7})], GROUP)
        assert (row.means["accuracy"].mean, row.differences) == (0.7, {})

    def test_a_metric_that_a_seed_lacks_is_left_out(self) -> None:
        lacking = run({"hf50": 0.6, "west": 0.7})
        lacking["arms"]["baselines"]["west"] = {"ece": 0.1}
        _, west = rows([self.RUNS[0], lacking], GROUP)
        assert (west.means, west.differences) == ({}, {})

    def test_one_seed_has_means_without_intervals(self) -> None:
        _, west = rows(self.RUNS[:1], GROUP)
        assert west.means["accuracy"] == Cell(0.7, None)
        assert west.differences["accuracy"].half is None

    def test_rows_of_the_main_pipeline(self) -> None:
        found = main_rows(self.RUNS, ("accuracy",))
        assert [row.arm for row in found] == ["hf50"]
        assert main_rows([run({"hf100": 0.7})], ("accuracy",))[0].differences == {}


class TestTable:
    def test_rows_with_equal_keys_become_one(self) -> None:
        runs = [
            run({}, t=[{"n": 2, "x": 1.0}, {"n": 4, "x": 5.0, "who": "a"}]),
            run({}, t=[{"n": 2, "x": 3.0}]),
        ]
        two, four = table(runs, "t", ("n",))
        assert (two["n"], two["seeds"], two["x"].mean) == (2, 2, 2.0)
        assert two["x"].half == pytest.approx(T1 * 1.0, rel=1e-5)
        assert (four["n"], four["seeds"], four["x"]) == (4, 1, Cell(5.0, None))
        assert "who" not in four

    def test_a_table_that_is_not_there_is_empty(self) -> None:
        assert table([run({})], "t", ("n",)) == []


class TestTableDifference:
    ENDS = ({"n": 4}, {"n": 2})

    def test_a_seed_without_the_table_is_left_out(self) -> None:
        rows_of = [{"n": 2, "x": 1.0}, {"n": 4, "x": 5.0}]
        found = table_difference([run({}, t=rows_of), run({})], "t", "x", *self.ENDS)
        assert found == Cell(4.0, None)
        assert table_difference([run({})], "t", "x", *self.ENDS) is None

    def test_a_table_without_a_row_is_not_measured(self) -> None:
        runs = [
            run({}, t=[{"n": 2, "x": 1.0}, {"n": 4, "x": 5.0}]),
            run({}, t=[{"n": 2, "x": 1.0}]),
        ]
        assert table_difference(runs, "t", "x", *self.ENDS) is None


class TestStudyJson:
    def test_a_run_is_read_rounded_and_cut_to_what_is_shown(self) -> None:
        files = {f"data/study/{part}.json": {"arms": {}, "tables": {}} for part in PARTS} | {
            "metrics.json": {
                "hf50": {"accuracy": 0.1234567},
                "k1": {
                    f"accuracy{end}": 0.5 for end in ("_low", "_difference", "_difference_high")
                },
            }
        }
        files["data/study/size.json"] = {
            "arms": {"wide": {"accuracy": 0.7654321, "brier": 0.2, "human_pairs": 3}},
            "tables": {"theorem": [{"n": 2, "bound": 0.333333333}]},
        }
        for name in ("k1", "k2"):
            rounds = {"policy_pools": [{"policy": name, "accuracy": 0.5}]} if name == "k1" else {}
            files[f"data/study/iterations/{name}.json"] = {"arms": {}, "tables": rounds}
        found = collect(lambda path: json.dumps(files[path]).encode(), ["k1", "k2"])
        assert found["main"] == {"hf50": {"accuracy": 0.12346}, "k1": {}}  # of one seed's prompts
        assert found["arms"]["size"] == {"wide": {"accuracy": 0.76543, "human_pairs": 3}}
        assert found["tables"] == {
            "theorem": [{"n": 2, "bound": 0.33333}],
            "policy_pools": [{"policy": "k1", "accuracy": 0.5}],
        }

    def test_seeds_and_their_runs_are_in_the_same_order(self, tmp_path: Path) -> None:
        runs = [run({"hf50": 0.5}), run({"hf50": 0.6})]
        written = Study([3, 1], runs, {"alignment": 0.5})
        write_study(written, tmp_path / "study.json")
        assert json.loads((tmp_path / "study.json").read_text()) == {
            "seeds": [3, 1],
            "runs": runs,
            "world": {"alignment": 0.5},
        }
        assert read_study(tmp_path / "study.json") == written

    def test_a_seed_without_ablations_has_their_parts_absent(self) -> None:
        files = {
            "data/study/baselines.json": {"arms": {"hf50": {}}, "tables": {"judge": []}},
            "metrics.json": {},
        }
        found = collect(lambda path: json.dumps(files[path]).encode(), [], HEADLINE_PARTS)
        assert found == {
            "main": {},
            "arms": {"baselines": {"hf50": {}}},
            "tables": {"judge": [], "policy_pools": []},
        }
