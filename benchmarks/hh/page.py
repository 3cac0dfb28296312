"""docs/human-data.md from the runs: a table a task, and what its intervals say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean as average

from benchmarks.hh.records import Run, difference, mean
from benchmarks.hh.settings import DEVELOPMENT_SEED, FILES, SETTINGS, TASKS, file_settings
from westofn.report.markdown import line, rule
from westofn.report.numbers import Measure, measure, percent, percent_interval, points
from westofn.report.study_results import Cell

ARMS: Mapping[str, str] = {
    "hf50": "HF50",
    "k1": "HF50 + West-of-N",
    "hf100": "HF100",
    "base": "teacher of West-of-N",
    "longest": "the longer response",
    "shortest": "the shorter response",
    "words_hf50": "words and length of HF50",
    "words_hf100": "words and length of HF100",
}
"""Arm -> its title, in the order of the rows."""

METRICS: Mapping[str, str] = {
    "accuracy": "held-out accuracy",
    "best_of_n_win_rate": f"best-of-{int(SETTINGS['sample.n_candidates']) - 1} win rate",
}
"""Metric, a share -> its title. The best of the others is held against the last candidate."""


@dataclass(frozen=True)
class Comparison:
    """A question that the page answers by a paired difference.

    Attributes:
        asks: The question, in words.
        arm: Its metric less ...
        other: ... that of this arm.
        metric: One of METRICS.
    """

    asks: str
    arm: str
    other: str
    metric: str = "accuracy"


COMPARISONS = (
    Comparison("Twice the human pairs", "hf100", "hf50"),
    Comparison("West-of-N", "k1", "hf50"),
    Comparison("West-of-N instead of labels", "k1", "hf100"),
    Comparison("Twice the human pairs", "hf100", "hf50", "best_of_n_win_rate"),
    Comparison("West-of-N", "k1", "hf50", "best_of_n_win_rate"),
    Comparison("Against length", "hf50", "longest"),
    Comparison("Against words, half of the pairs", "hf50", "words_hf50"),
    Comparison("Against words, all pairs", "hf100", "words_hf100"),
)

COUNTS: Mapping[str, str] = {
    "rows_out": "pairs",
    "pairs_train": "train (HF100)",
    "pairs_hf50": "HF50",
    "pairs_validation": "validation",
    "pairs_test": "test",
    "pairs_autorater": "autorater",
}

DEVELOPMENT = ", **with which settings were chosen: a look at the benchmark, and no result**"

PAGE = """# Human data

Made by `python -m benchmarks.hh --data PATH{arguments}`: {seeds}{development}.
Means with 95 % t-intervals over seeds{alone}; differences are paired by seed. What each run
measured is in [benchmarks/hh.json](../benchmarks/hh.json).

A difference reads as an effect only where its interval excludes zero.

## The data

Anthropic's HH ([arXiv 2204.05862](https://arxiv.org/abs/2204.05862)): dialogues with two responses,
of which a person chose one. The committed numbers are of 8,488 rows, the *test* files of
[hh-rlhf](https://github.com/anthropics/hh-rlhf) without rows whose responses are empty or equal,
of which the tasks take three subsets; the paper has 170,000 pairs. They are split here, so no
number compares with that of a model trained on hh-rlhf's train files. PATH is any data in the form
of [README.md](../README.md#your-own-data); this run read {rows} rows.

The tasks are never mixed: one rewards the help that the other rewards refusing. Pairs of a run,
means over seeds:

{counts}

Every seed draws its own splits of the same pairs, so the intervals over seeds hold the choice of
test pairs as well as that of labels and of random numbers. But two seeds share {shared} of their
test pairs, and test pairs of one train the models of another: the seeds are not independent, and
the intervals are rather too narrow. The last table of a task has each seed by itself, with a
bootstrap over its test prompts.

## The models

A policy from scratch learns the chosen responses of the train pairs. Every reward model starts from
it and takes the same steps; West-of-N is one round of the loop. Reward models learn from, and are
validated on, pairs whose responses are not too long, and are tested on all. The best-of-n win rate
is over another response of the policy, and an autorater of pairs that no other model sees is the
judge, a weak one.

What needs no reward model reads no prompt. **The longer response** is so in words. **Words and
length** is logistic regression on the difference of two responses, in TF-IDF and in length, with
its strength chosen by validation accuracy. It learns from all pairs, the long ones too, which are
about 40 % more than a reward model's, so it is the stronger rival; nor are validation
accuracies of the two kinds of the same pairs.

Settings were chosen by validation losses with seed {chosen_with}. What differs from `params.yaml`:

{settings}

{tasks}
"""


def human_data_page(runs: Sequence[Run]) -> str:
    """The page as markdown; one run of a task has neither intervals nor verdicts."""
    by_task = {task: [run for run in runs if run.task == task] for task in TASKS}
    seeds = sorted({run.seed for run in runs})
    one = len(seeds) == 1
    return PAGE.format(
        arguments=_arguments(runs, seeds),
        seeds=f"seed {seeds[0]}" if one else f"seeds {seeds[0]} to {seeds[-1]}",
        development=DEVELOPMENT if DEVELOPMENT_SEED in seeds else "",
        chosen_with=DEVELOPMENT_SEED,
        alone="; one seed has none" if one else "",
        rows=f"{runs[0].counts['rows_in']:,}",
        counts=_counts(by_task),
        shared=f"about {percent(FILES['test_fraction'], 0)} %",
        settings=_settings(),
        tasks="\n\n".join(_task(task, found) for task, found in by_task.items() if found),
    )


def reading(comparison: Comparison, found: Cell) -> str:
    """A paired difference and what its interval says, as a sentence.

    >>> reading(COMPARISONS[0], Cell(0.02, 0.01))
    'Twice the human pairs: HF100 is above HF50, +2.0 ± 1.0 points of held-out accuracy.'
    >>> reading(COMPARISONS[1], Cell(-0.01, 0.03)).split(",")[0]
    'West-of-N: HF50 + West-of-N is not told apart from HF50'
    """
    arm, other = ARMS[comparison.arm], ARMS[comparison.other]
    size = f"{_difference(found)} points of {METRICS[comparison.metric]}"
    if found.half is None:
        return f"{comparison.asks}: {arm} less {other} is {size} in one seed."
    verdict = f"{found.verdict} from" if found.verdict == "not told apart" else found.verdict
    return f"{comparison.asks}: {arm} is {verdict} {other}, {size}."


def _arguments(runs: Sequence[Run], seeds: Sequence[int]) -> str:
    tasks = {run.task for run in runs}
    first = f" --first-seed {seeds[0]}" if seeds[0] else ""
    return f" --seeds {len(seeds)}{first}" + (
        "" if tasks == set(TASKS) else f" --task {min(tasks)}"
    )


def _counts(by_task: Mapping[str, Sequence[Run]]) -> str:
    lines = [
        line(
            [
                task,
                ", ".join(TASKS[task]),
                *(f"{average(run.counts[key] for run in runs):,.0f}" for key in COUNTS),
            ]
        )
        for task, runs in by_task.items()
        if runs
    ]
    return "\n".join([line(["task", "subsets", *COUNTS.values()]), rule(2, len(COUNTS)), *lines])


def _settings() -> str:
    rows = {**file_settings(), **SETTINGS}
    lines = [line([f"`{key}`", f"{value}"]) for key, value in rows.items()]
    return "\n".join([line(["parameter", "value"]), rule(1, 1), *lines])


def _task(task: str, runs: Sequence[Run]) -> str:
    said = [
        f"- {reading(comparison, found)}"
        for comparison in COMPARISONS
        if (found := difference(runs, comparison.arm, comparison.other, comparison.metric))
    ]
    return "\n".join([f"## {task.capitalize()}", "", *_arms(runs), "", *said, "", *_seeds(runs)])


def _arms(runs: Sequence[Run]) -> list[str]:
    """A row an arm: means, and accuracy against HF50."""
    heads = ["", "held-out accuracy, %", "− HF50, points", "validation accuracy, %",
             "calibration error, %", f"{METRICS['best_of_n_win_rate']}, %"]  # fmt: skip
    lines = [
        line(
            [
                title,
                _share(mean(runs, arm, "accuracy")),
                "—" if arm == "hf50" else _difference(difference(runs, arm, "hf50", "accuracy")),
                _share(mean(runs, arm, "validation_accuracy")),
                _share(mean(runs, arm, "ece")),
                _share(mean(runs, arm, "best_of_n_win_rate")),
            ]
        )
        for arm, title in ARMS.items()
        if mean(runs, arm, "accuracy")
    ]
    return [line(heads), rule(1, len(heads) - 1), *lines]


def _seeds(runs: Sequence[Run]) -> list[str]:
    """Held-out accuracy of every seed with its own interval, a row an arm."""
    lines = [
        line([title, *(_one(measure(run.arms.get(arm, {}), "accuracy")) for run in runs)])
        for arm, title in ARMS.items()
    ]
    return [
        "Held-out accuracy of each seed, with 95 % intervals over its test prompts:",
        "",
        line(["", *(f"seed {run.seed}" for run in runs)]),
        rule(1, len(runs)),
        *lines,
    ]


def _share(found: Cell | None) -> str:
    """A mean share in percent.

    >>> _share(Cell(0.614, 0.012)), _share(Cell(0.614, None)), _share(None)
    ('61.4 ± 1.2', '61.4', '—')
    """
    if found is None:
        return "—"
    return percent(found.mean) + ("" if found.half is None else f" ± {percent(found.half)}")


def _difference(found: Cell | None) -> str:
    """A mean difference of shares in points, with its sign."""
    if found is None:
        return "—"
    return points(found.mean) + ("" if found.half is None else f" ± {percent(found.half)}")


def _one(found: Measure | None) -> str:
    return "—" if found is None else percent_interval(found).replace(" %", "")
