"""The commit and its experiments in one table: what each changed, its headlines, and the noise."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.cells import cell_len

from westofn.report.runs import COLUMNS, Run, print_runs, runs_of
from westofn.terminal import Terminal

PARAMS = {"seed": 0, "filter": {"quantile": 0.0, "likelihood_quantile": 0.0}}


def revision(rev: str, name: str | None = None, accuracy: float = 0.6, **filtering: float) -> Any:
    """A revision as `dvc exp show --json` prints it."""
    headlines = {
        "hf50": {"accuracy": 0.5, "on_policy_accuracy": 0.5},
        "k1": {"accuracy": 0.1, "on_policy_accuracy": 0.1, "best_of_n_win_rate": 0.1},
        "k2": {"accuracy": accuracy, "on_policy_accuracy": 0.5},
    }
    params = PARAMS | {"filter": PARAMS["filter"] | filtering}  # type: ignore[operator]
    data = {
        "params": {"params.yaml": {"data": params}, "study/run.yaml": {"data": {"parts": []}}},
        "metrics": {"headlines.json": {"data": headlines}, "dvclive/latest": {"data": {"step": 3}}},
    }
    return {"rev": rev, "name": name, "data": data, "error": None}


def experiment(shown: Any, state: str | None = None) -> Any:
    """An experiment with one revision."""
    executor = {"state": state, "name": "dvc-task", "local": None} if state else None
    return {"revs": [shown], "executor": executor, "name": shown["name"]}


SHOWN = [
    revision("workspace", quantile=0.5) | {"experiments": None},
    revision("a" * 40, "main")
    | {
        "experiments": [
            experiment(revision("b" * 40, "worse", accuracy=0.55, quantile=0.9)),
            experiment(revision("c" * 40, "waits", quantile=0.1), "queued"),
            experiment(revision("d" * 40, "broken", quantile=0.2), "failed"),
            experiment(revision("e" * 40, "better", accuracy=0.7, likelihood_quantile=0.25)),
        ]
    },
]


def printed(runs: list[Run], noise: dict[str, float]) -> str:
    """What a terminal of 80 columns shows."""
    console = Terminal(file=io.StringIO(), width=80)
    print_runs(runs, noise, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_experiments_stand_below_their_commit_with_what_they_changed_best_first() -> None:
    runs = runs_of(SHOWN, "accuracy")
    assert [(run.name, run.commit, run.state, dict(run.changes)) for run in runs] == [
        ("workspace", "main", "", {"filter.quantile": 0.5}),
        ("main", "", "", {}),
        ("better", "main", "", {"filter.likelihood_quantile": 0.25}),
        ("worse", "main", "", {"filter.quantile": 0.9}),
        ("broken", "main", "failed", {"filter.quantile": 0.2}),
        ("waits", "main", "queued", {"filter.quantile": 0.1}),
    ]
    assert [run.name for run in runs_of(SHOWN, "name")][2:] == [
        "better",
        "broken",
        "waits",
        "worse",
    ]


def test_numbers_are_those_of_the_last_student_and_unfinished_runs_have_none() -> None:
    by_name = {run.name: run for run in runs_of(SHOWN, "accuracy")}
    assert by_name["better"].value("accuracy") == 0.7
    assert by_name["better"].gain("accuracy") == pytest.approx(0.2)
    assert by_name["better"].value("best_of_n_win_rate") is None
    assert by_name["waits"].value("accuracy") is None
    assert by_name["broken"].headlines == {}


def test_the_table_marks_what_another_seed_does_not_explain() -> None:
    text = printed(runs_of(SHOWN, "accuracy"), {"accuracy": 0.06})
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "70.0* (+20.0)" in rows["better"]
    assert "55.0 (+5.0)" in rows["worse"]
    assert "accuracy 6.0 points (95 %)" in text
    assert "(queued)" in rows["waits"]
    assert "–" in rows["waits"]


@pytest.mark.parametrize("noise", [{}, dict.fromkeys(COLUMNS, 0.123)])
def test_long_names_and_many_changes_fit_80_columns_whole(noise: dict[str, float]) -> None:
    changes = {f"prepare.world.annotator_temperature_{i}": "file:" + "Q" * 40 for i in range(3)}
    name = "an-experiment-with-a-name-longer-than-a-column"
    arms = {"hf50": dict.fromkeys(COLUMNS, 1.0), "k1": dict.fromkeys(COLUMNS, 0.0)}
    commit = Run("main", {}, {"hf50": arms["hf50"], "k1": arms["hf50"]})
    text = printed([commit, Run(name, changes, arms, "main")], noise)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.count("0.0* (−100.0)" if noise else "0.0 (−100.0)") == 3
    assert text.count("Q") == 3 * 40


def test_a_commit_without_parameters_or_metrics_is_a_row_without_numbers() -> None:
    shown = [{"rev": "f" * 40, "name": None, "data": None, "error": {"msg": "no dvc.yaml"}}]
    assert runs_of(shown, "accuracy") == [Run("fffffff", {}, {})]
