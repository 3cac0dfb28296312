"""Trials of the filter's settings, with experiments that were run elsewhere."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence

import polars as pl
import pytest
from rich.console import Console

from westofn.execution.experiments import Experiment, ExperimentError
from westofn.tuning import filter as tuning
from westofn.tuning.choice import Trial
from westofn.tuning.filter import Tuned, print_tuned, try_settings
from westofn.tuning.grid import KEEP_ALL, Setting

SETTINGS = [KEEP_ALL, Setting(0.5, 0.0), Setting(0.5, 0.25)]
# By revision: validation accuracy, loss, pairs kept.
RESULTS = {
    "tune-filter-k1-0.0-0.0": (0.70, 0.61, 600),
    "tune-filter-k1-0.5-0.0": (0.72, 0.60, 300),
    "tune-filter-k1-0.5-0.25": (0.72, 0.59, 250),
}


class Elsewhere:
    """Stands for DVC: an experiment's revision is its name, its files are made of RESULTS."""

    def __init__(self, too_long: int = 0) -> None:
        self.runs: list[tuple[list[Experiment], int]] = []
        self.removed: list[str] = []
        self.read: list[str] = []
        self.too_long = too_long

    def run_all(
        self,
        experiments: Sequence[Experiment],
        jobs: int,
        finished: Callable[[Experiment, str], None],
    ) -> None:
        self.runs.append((list(experiments), jobs))
        for experiment in reversed(experiments):  # they end in any order
            if experiment.name not in RESULTS:
                raise ExperimentError(f"experiment {experiment.name}: it failed")
            finished(experiment, experiment.name)

    def read_output(self, revision: str, path: str) -> bytes:
        self.read.append(path)
        accuracy, loss, kept = RESULTS[revision]
        if path == "data/prepared/preferences.parquet":
            buffer = io.BytesIO()
            splits = ["validation"] * 200 + ["train"] * 50 + ["test"] * 70
            pl.DataFrame({"split": splits}).write_parquet(buffer)
            return buffer.getvalue()
        found = {
            "data/loop/k1/rm/card.json": {
                "training": {
                    "human_pairs": 90,
                    "human_dropped_too_long": self.too_long,
                    "validation_accuracy": accuracy,
                    "validation_calibrated_loss": loss,
                }
            },
            "data/loop/k1/synthetic/summary.json": {"pairs_kept": kept},
        }[path]
        return json.dumps(found).encode()

    def remove_experiments(self, names: Sequence[str]) -> None:
        self.removed += names


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    found = Elsewhere()
    for name in ("run_all", "read_output", "remove_experiments"):
        monkeypatch.setattr(tuning, name, getattr(found, name))
    return found


def console() -> Console:
    return Console(file=io.StringIO(), width=80)


def printed(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


def test_every_setting_runs_up_to_the_student_and_no_further(elsewhere: Elsewhere) -> None:
    try_settings(SETTINGS, "k1", 2, console())
    (first, alone), (rest, jobs) = elsewhere.runs
    assert (alone, jobs) == (1, 2)
    assert [e.settings for e in [*first, *rest]] == [setting.parameters for setting in SETTINGS]
    assert {e.targets for e in [*first, *rest]} == {("student_rm@k1",)}


def test_no_test_metric_is_read(elsewhere: Elsewhere) -> None:
    try_settings(SETTINGS, "k1", 1, console())
    assert set(elsewhere.read) == {
        "data/loop/k1/rm/card.json",
        "data/loop/k1/synthetic/summary.json",
        "data/prepared/preferences.parquet",
    }


def test_trials_are_read_from_their_own_experiment(elsewhere: Elsewhere) -> None:
    tuned = try_settings(SETTINGS, "k1", 2, console())
    assert tuned.trials == [
        Trial(Setting(0.5, 0.25), 250, 0.72, 0.59),
        Trial(Setting(0.5, 0.0), 300, 0.72, 0.60),
        Trial(KEEP_ALL, 600, 0.70, 0.61),
    ]
    assert tuned.winner.setting == Setting(0.5, 0.25)


def test_validation_pairs_alone_are_counted(elsewhere: Elsewhere) -> None:
    tuned = try_settings(SETTINGS, "k1", 1, console())
    assert (tuned.pairs, tuned.about) == (200, False)


def test_pairs_that_are_too_long_are_taken_off(elsewhere: Elsewhere) -> None:
    elsewhere.too_long = 10  # of 100
    tuned = try_settings(SETTINGS, "k1", 1, console())
    assert (tuned.pairs, tuned.about) == (180, True)
    on = console()
    print_tuned(tuned, on)
    assert "About 180 validation pairs" in printed(on)


def test_experiments_are_removed_once_read(elsewhere: Elsewhere) -> None:
    try_settings(SETTINGS, "k1", 1, console())
    assert sorted(elsewhere.removed) == sorted(RESULTS)


def test_a_failure_is_raised_and_leaves_no_experiment(elsewhere: Elsewhere) -> None:
    with pytest.raises(ExperimentError, match=r"tune-filter-k1-0\.9-0\.0: it failed"):
        try_settings([*SETTINGS, Setting(0.9, 0.0)], "k1", 1, console())
    assert set(elsewhere.removed) == {*RESULTS, "tune-filter-k1-0.9-0.0"}


def test_the_table_ranks_and_the_lines_say_what_it_is_worth(elsewhere: Elsewhere) -> None:
    on = console()
    print_tuned(try_settings(SETTINGS, "k1", 1, console()), on)
    lines = [line.split() for line in printed(on).splitlines()]
    # Wilson's intervals of 0.72 and 0.70 on 200 pairs.
    assert ["1", "0.5", "0.25", "250", "72.0", "(65.4", "to", "77.8)", "0.5900"] in lines
    assert ["2", "0.5", "0", "300", "72.0", "(65.4", "to", "77.8)", "0.6000"] in lines
    assert ["3", "0", "0", "600", "70.0", "(63.3", "to", "75.9)", "0.6100"] in lines
    assert "200 validation pairs" in printed(on)
    assert "within noise" in printed(on)


def test_the_table_fits_a_narrow_terminal() -> None:
    on = console()
    trials = [Trial(Setting(0.75, 0.25), 123_456, 1.0, 0.1234), Trial(KEEP_ALL, 999_999, 0.5, 0.7)]
    print_tuned(Tuned(trials, 60_000, True), on)
    table = [line for line in printed(on).splitlines() if "999,999" in line or "123,456" in line]
    assert len(table) == 2
    assert "100.0 (100.0 to 100.0)" in table[0]
    assert "0.1234" in table[0]
