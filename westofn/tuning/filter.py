"""Choice of the filter's thresholds by the student's validation accuracy, as in the paper.

Every setting is a DVC experiment that ends with the student, so no test metric is computed. The
results come from the student's card and the filter's summary.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from westofn.artifacts.json_file import json_object, of_right_form
from westofn.execution.experiments import Experiment, read_output, remove_experiments, run_all
from westofn.report.numbers import Measure, percent, percent_interval, wilson
from westofn.tuning.choice import Trial, ranked, reading
from westofn.tuning.grid import Setting

_MADE_BY = "the experiment"
_SUMMARY = "synthetic/summary.json"
_MEASURES = ("accuracy", "calibrated_loss")
PREFERENCES = "data/prepared/preferences.parquet"


@dataclass(frozen=True)
class Tuned:
    """All trials, best first, and the size of the validation data.

    Attributes:
        trials: Trials, best first.
        pairs: Number of human validation pairs within the student's limits.
        about: Whether `pairs` is an estimate, see `validation_pairs`.
    """

    trials: list[Trial]
    pairs: int
    about: bool

    @property
    def winner(self) -> Trial:
        """The best trial."""
        return self.trials[0]

    @property
    def reading(self) -> str:
        """Sentence on whether the best setting differs from keeping all pairs."""
        return reading(self.trials, self.pairs)


def try_settings(settings: Sequence[Setting], iteration: str, jobs: int, console: Console) -> Tuned:
    """Train a student for every setting.

    The first experiment runs alone, and the others take shared stages from the cache. Outputs of
    dvc.lock that the clone lacks are an exception: run `dvc repro` or `dvc pull` first. The
    experiments are removed after reading, because their metrics.json is that of the last commit;
    DVC's cache keeps the trained models.

    Args:
        settings: Settings to try, including KEEP_ALL.
        iteration: Iteration of the student, such as k1.
        jobs: Number of experiments at a time.
        console: Console for progress.

    Raises:
        ExperimentError: An experiment failed; results of the others are in the cache.
    """
    experiments = {_name(setting, iteration): setting for setting in settings}
    todo = [
        Experiment(name, setting.parameters, (f"student_rm@{iteration}",))
        for name, setting in experiments.items()
    ]
    trials: list[Trial] = []
    counts: list[tuple[int, bool]] = []

    def finished(experiment: Experiment, revision: str) -> None:
        trial, pairs = read_trial(experiments[experiment.name], revision, iteration)
        trials.append(trial)
        counts.append(pairs)
        done = f"{len(trials)}/{len(todo)} {trial.setting}: {percent(trial.accuracy)} %"
        console.print(done, markup=False, highlight=False)

    try:
        run_all(todo[:1], 1, finished)
        run_all(todo[1:], jobs, finished)
    finally:
        remove_experiments(experiments)
    return Tuned(ranked(trials), *counts[0])


def validation_pairs(rows: int, facts: Mapping[str, Any]) -> tuple[int, bool]:
    """Return the number of validation pairs within the limits, and whether it is an estimate.

    Pairs with a response that is too long are dropped. The card counts only dropped training pairs;
    the estimate assumes the same share for validation pairs.

    >>> validation_pairs(600, {"human_pairs": 500, "human_dropped_too_long": 0})
    (600, False)
    >>> validation_pairs(600, {"human_pairs": 450, "human_dropped_too_long": 50})
    (540, True)
    """
    kept, dropped = int(facts["human_pairs"]), int(facts["human_dropped_too_long"])
    return max(1, round(rows * kept / (kept + dropped))), dropped > 0


def print_tuned(tuned: Tuned, console: Console) -> None:
    """Print the trials as a table and the conclusion, in 80 columns."""
    console.print(tuned_table(tuned))
    about = "About " if tuned.about else ""
    basis = f"{about}{tuned.pairs:,} validation pairs, 95 % binomial intervals; one training seed."
    for line in (basis, tuned.reading):
        console.print(line, markup=False, highlight=False)


def tuned_table(tuned: Tuned) -> Table:
    """Build a table with one row per setting, best first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("rank", "quantile", "likelihood\nquantile", "pairs\nkept"):
        table.add_column(head, justify="right")
    table.add_column("validation accuracy\n% (95 %)", justify="right", no_wrap=True)
    table.add_column("calibrated\nloss", justify="right")
    for rank, trial in enumerate(tuned.trials, 1):
        accuracy = Measure(trial.accuracy, *wilson(trial.accuracy, tuned.pairs))
        table.add_row(
            str(rank),
            f"{trial.setting.quantile:g}",
            f"{trial.setting.likelihood_quantile:g}",
            f"{trial.pairs_kept:,}",
            percent_interval(accuracy).replace(" %", ""),
            f"{trial.loss:.4f}",
        )
    return table


def _name(setting: Setting, iteration: str) -> str:
    return f"tune-filter-{iteration}-{setting.quantile!r}-{setting.likelihood_quantile!r}"


def read_trial(setting: Setting, revision: str, iteration: str) -> tuple[Trial, tuple[int, bool]]:
    """Read what an experiment wrote: its trial, and the result of `validation_pairs`.

    Raises:
        DataError: A file is damaged or lacks a number.
    """
    card, summary = f"data/loop/{iteration}/rm/card.json", f"data/loop/{iteration}/{_SUMMARY}"
    with of_right_form(summary, _MADE_BY):
        kept = int(json_object(read_output(revision, summary), summary, _MADE_BY)["pairs_kept"])
    with of_right_form(card, _MADE_BY):
        facts = json_object(read_output(revision, card), card, _MADE_BY)["training"]
        accuracy, loss = (float(facts[f"validation_{name}"]) for name in _MEASURES)
        return Trial(setting, kept, accuracy, loss), validation_pairs(_rows(revision), facts)


def _rows(revision: str) -> int:
    content = io.BytesIO(read_output(revision, PREFERENCES))
    return int((pl.read_parquet(content, columns=["split"])["split"] == "validation").sum())
