"""docs/human-data.md from the runs: tables with intervals, and what each of them excludes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.human.cells import (
    ARMS,
    BASELINES,
    METRICS,
    baseline,
    direction,
    foreseen,
    gain,
    head,
    network,
    number,
    plain,
    reading,
    share,
)
from benchmarks.human.gold import WHOLE
from benchmarks.human.pretrained import pretrained_section
from benchmarks.human.records import Get, Measured, Run, difference, mean
from benchmarks.human.settings import (
    ALL,
    CONDITIONS,
    DEVELOPMENT_SEED,
    POOL_SIZES,
    PRETRAINED_TASKS,
    TASKS,
    Task,
)
from westofn.core.metrics import rank_correlation
from westofn.report.markdown import line, rule
from westofn.report.numbers import percent, points
from westofn.study.means import Cell

FORECASTS: Mapping[str, str] = {
    "west": "forecast: West-of-N less HF50, points",
    "twice": "forecast: HF100 less HF50, points",
}

PAPER = 1.6
"""Points of accuracy that West-of-N gained in arXiv 2401.12086 on TL;DR."""

EMPTY = """# Human data

No run is recorded yet: `make human HUMAN_DATA=DIR` writes this page.
"""

PAGE = """# Human data

Made by `python -m benchmarks.human --data DIR{arguments}` (`make human HUMAN_DATA=DIR`):
{seeds}{development}. Means over seeds with 95 % t-intervals{alone}; differences are paired by
seed. What each run measured is in [benchmarks/human.json](../benchmarks/human.json).

{summary}

## What is compared

A policy from scratch learns the demonstrations of a task. **Linear heads** on its frozen
states are the reward models of most tables: they take a second, so every seed averages {draws}
draws of the labels. **Trained networks** start from the policy and are trained as in the
pipeline, on the labels of one draw. HF50 has the stated number of human pairs and HF100 twice as
many; West-of-N adds the best and the worst of every pool of D_U by a teacher of HF50, N = 2 the
better of two random samples, “several” the best quarter of a pool with its worst quarter, and the
covariance prior adds nothing: it fits HF50 with w ~ N(0, Σ^p), p by validation. All arms choose
penalties, powers and checkpoints on the same validation pairs, at most 400.

κ says how much more the policy's samples vary along what people prefer than along a random
direction, κ_H the same of the human pairs; theory expects a gain where κ is well above κ_H and
labels are few. Both are split-half estimates and medians over draws.

Splits are by prompt (by debate in UKPConvArg), drawn anew by every seed from the same pairs. So
test pairs of one seed train the models of another, and the intervals over seeds are rather too
narrow. The judge of win rates is a linear head on pairs that no arm sees, on the same features: a
weak one. Settings were chosen for the time that they take and not by any result.

## The data

- **E2E** ([arXiv 1901.07931](https://arxiv.org/abs/1901.07931), CC BY-SA 4.0): people compared
  descriptions of restaurants by some twenty systems for 630 inputs, by quality and by
  naturalness. The policy learns 4,299 human references of 1,484 other inputs, whose prompts are
  D_U too.
- **UKPConvArg1Strict** ([ACL P16-1150](https://aclanthology.org/P16-1150/), CC BY 4.0): which of
  two arguments for a stance convinces more; 16 debates, 32 stances of some 32 texts. Pools are
  these human texts, and 71 % of a stance's pairs were judged. Published models reach 76 to 78 %
  across topics, and the longer text wins in 75.3 %.
- **HH** ([arXiv 2204.05862](https://arxiv.org/abs/2204.05862), MIT): 8,488 rows of the test files
  of hh-rlhf, split here, so no number compares with models trained on its train files. Helpful
  and harmless are never mixed: one rewards the help that the other rewards refusing.

Pairs of a run, means over seeds:

{counts}

{tasks}
"""


def human_data_page(runs: Sequence[Run]) -> str:
    """The page as markdown; one seed has neither intervals nor verdicts."""
    if not runs:
        return EMPTY
    by_task = _by_task(runs, TASKS)
    scratch = [run for group in by_task.values() for run in group]
    pretrained = pretrained_section(_by_task(runs, PRETRAINED_TASKS))
    if not scratch:
        return f"# Human data\n\n{pretrained}\n"
    seeds = sorted({run.seed for run in scratch})
    one = len(seeds) == 1
    sections = [_task(TASKS[name], group, len(seeds)) for name, group in by_task.items()]
    return PAGE.format(
        arguments=_arguments(scratch, seeds),
        seeds=f"seed {seeds[0]}" if one else f"seeds {seeds[0]} to {seeds[-1]}",
        development=(
            ", **with which settings were chosen: a look at the benchmark, and no result**"
            if DEVELOPMENT_SEED in seeds
            else ""
        ),
        alone="; one seed has none" if one else "",
        summary=summary(list(by_task.values())),
        draws=next(iter(TASKS.values())).draws,
        counts=_counts(by_task),
        tasks="\n\n".join(filter(None, [*sections, pretrained])),
    )


def _by_task(runs: Sequence[Run], tasks: Mapping[str, Task]) -> dict[str, list[Run]]:
    groups = {name: [run for run in runs if run.task == name] for name in tasks}
    return {name: group for name, group in groups.items() if group}


def _arguments(runs: Sequence[Run], seeds: Sequence[int]) -> str:
    tasks = [name for name in TASKS if name in {run.task for run in runs}]
    first = f" --first-seed {seeds[0]}" if seeds[0] else ""
    chosen = "" if tasks == list(TASKS) else f" --task {','.join(tasks)}"
    return f" --seeds {len(seeds)}{first}{chosen}"


def _foreseen(runs: Sequence[Run], place: int, arm: str) -> str:
    """The forecast's mean and interval, both means over seeds."""
    middle, low, high = (
        mean(runs, foreseen(place, f"{arm}_{end}")) for end in ("mean", "low", "high")
    )
    if middle is None or low is None or high is None:
        return "—"
    return f"{middle.mean:+.1f} [{low.mean:+.1f}, {high.mean:+.1f}]"


@dataclass(frozen=True)
class _Outcome:
    """West-of-N − HF50 and HF100 − HF50 in one cell, and where the cell lies."""

    west: Cell
    full: Cell
    ratio: Cell | None


def summary(groups: Sequence[Sequence[Run]]) -> str:
    """The paragraph that says what the cells say together."""
    outcomes = [
        _Outcome(west, full, mean(runs, direction(place, "kappa_ratio")))
        for runs in groups
        for place in range(len(runs[0].cells))
        if (
            west := difference(
                runs, head(place, "west", "accuracy"), head(place, "hf50", "accuracy")
            )
        )
        and (
            full := difference(
                runs, head(place, "hf100", "accuracy"), head(place, "hf50", "accuracy")
            )
        )
    ]
    measured = [outcome for outcome in outcomes if outcome.ratio is not None]
    below = [outcome for outcome in measured if outcome.ratio and outcome.ratio.mean < 1]
    above = [outcome for outcome in measured if outcome.ratio and outcome.ratio.mean >= 1]
    if any(outcome.west.half is None for outcome in outcomes):
        told = (
            "**What this says.** One seed tells no arm from another. The mean of West-of-N − "
            f"HF50 is above zero in {sum(o.west.mean > 0 for o in outcomes)} of {len(outcomes)} "
            "cells of linear heads, that of HF100 − HF50 in "
            f"{sum(o.full.mean > 0 for o in outcomes)}."
        )
    else:
        told = (
            f"**What this says.** Of {len(outcomes)} cells (a task, its human pairs, a number of "
            "labels) with linear heads, West-of-N is above HF50 in "
            f"{_tally(outcomes, 'west', 'above')}, below it in "
            f"{_tally(outcomes, 'west', 'below')} and not told apart in the others; twice the "
            f"labels are above HF50 in {_tally(outcomes, 'full', 'above')} and below it in "
            f"{_tally(outcomes, 'full', 'below')}. So many comparisons give one in twenty by "
            f"chance. {_against_paper(outcomes)}"
        )
    ratios = f"{_by_ratio(below, 'below')} {_by_ratio(above, 'not below')}"
    return f"{told} {ratios} {_forecasts(groups)}".strip()


def _forecasts(groups: Sequence[Sequence[Run]]) -> str:
    """How the forecasts of West-of-N − HF50 and of HF100 − HF50 compare with what was measured."""
    told = []
    for arm, key in (("west", "west"), ("hf100", "twice")):
        gains, forecasts, inside = [], [], 0
        for runs in groups:
            for place in range(len(runs[0].cells)):
                gain = difference(
                    runs, head(place, arm, "accuracy"), head(place, "hf50", "accuracy")
                )
                low, middle, high = (
                    mean(runs, foreseen(place, f"{key}_{end}")) for end in ("low", "mean", "high")
                )
                if gain and low and middle and high:
                    gains.append(100 * gain.mean)
                    forecasts.append(middle.mean)
                    inside += low.mean <= 100 * gain.mean <= high.mean
        if len(gains) > 2:
            told.append(
                f"for {ARMS[arm]} {inside} of {len(gains)} means of cells lie in the forecast's "
                f"interval, with a rank correlation of {rank_correlation(forecasts, gains):.2f}"
            )
    return f"The forecast, made without training: {'; '.join(told)}." if told else ""


def _tally(outcomes: Sequence[_Outcome], side: str, verdict: str) -> int:
    return sum(getattr(outcome, side).verdict == verdict for outcome in outcomes)


def _against_paper(outcomes: Sequence[_Outcome]) -> str:
    smaller = sum(outcome.west.high < PAPER / 100 for outcome in outcomes)
    return f"In {smaller} the interval excludes the paper's gain on TL;DR, +{PAPER} points."


def _by_ratio(outcomes: Sequence[_Outcome], side: str) -> str:
    if not outcomes:
        return f"κ is {side} κ_H in no cell."
    west = sum(outcome.west.mean for outcome in outcomes) / len(outcomes)
    return (
        f"κ is {side} κ_H in {len(outcomes)} cells, whose mean of West-of-N − HF50 is "
        f"{points(west)} points of held-out accuracy."
    )


def _counts(by_task: Mapping[str, Sequence[Run]]) -> str:
    keys = ("rows_out", "pairs_train", "pairs_validation", "pairs_test", "pairs_autorater")
    titles = ("pairs", "train", "validation", "test", "judge")
    rows = [
        line(
            [
                TASKS[name].title,
                *(
                    f"{sum(run.counts.get(key, 0) for run in runs) / len(runs):,.0f}"
                    for key in keys
                ),
            ]
        )
        for name, runs in by_task.items()
    ]
    return "\n".join([line(["task", *titles]), rule(1, len(titles)), *rows])


def _task(task: Task, runs: Sequence[Run], seeds: int) -> str:
    fewer = f"Only {len(runs)} of {seeds} seeds have been run." if len(runs) < seeds else ""
    cells = list(enumerate(runs[0].cells))
    whole = [(place, cell) for place, cell in cells if cell.condition == ALL]
    some = [(place, cell) for place, cell in cells if cell.condition != ALL]
    titles = {place: f"{cell.pairs[0]:,} pairs" for place, cell in whole}
    blocks = [f"## {task.title}", fewer, _directions(runs, titles)]
    blocks += [_heads(runs, titles, "accuracy", with_baselines=True), _readings(runs, titles)]
    blocks += [_heads(runs, titles, "near_accuracy", with_baselines=True)]
    blocks += [_heads(runs, titles, "win_rate", with_baselines=False)]
    blocks += [_networks(runs, [place for place, cell in whole if cell.networks])]
    blocks += [_conditions(runs, some), _gold(runs, whole)]
    return "\n\n".join(filter(None, blocks))


def _directions(runs: Sequence[Run], titles: Mapping[int, str]) -> str:
    keys = {"kappa": "κ", "kappa_human": "κ_H", "kappa_ratio": "κ / κ_H"}
    rows = [
        line([title, *(plain(mean(runs, direction(place, key))) for place in titles)])
        for key, title in keys.items()
    ]
    rows += [
        line([title, *(_foreseen(runs, place, arm) for place in titles)])
        for arm, title in FORECASTS.items()
    ]
    return "\n".join([line(["labels in HF50", *titles.values()]), rule(1, len(titles)), *rows])


def _heads(
    runs: Sequence[Run], titles: Mapping[int, str], metric: str, *, with_baselines: bool
) -> str:
    """HF50 in percent, and each arm less HF50 in points, by the number of labels."""
    rows = [
        line([title, *(_against(runs, place, arm, metric) for place in titles)])
        for arm, title in ARMS.items()
    ]
    if all("—" in row for row in rows) and not with_baselines:
        return ""
    if with_baselines:
        rows += [
            line([f"{title}, %", *[share(mean(runs, baseline(arm, metric)))] * len(titles)])
            for arm, title in BASELINES.items()
        ]
    heads = line(["linear heads", *titles.values()])
    return "\n".join(
        [
            f"{METRICS[metric].capitalize()}: HF50 in percent, the other arms less HF50 in points.",
            "",
            heads,
            rule(1, len(titles)),
            *rows,
        ]
    )


def _against(runs: Sequence[Run], place: int, arm: str, metric: str) -> str:
    if arm == "hf50":
        return share(mean(runs, head(place, arm, metric)))
    return gain(difference(runs, head(place, arm, metric), head(place, "hf50", metric)))


def _readings(runs: Sequence[Run], titles: Mapping[int, str]) -> str:
    said = []
    for place, title in titles.items():
        for arm in ("west", "hf100"):
            reference = head(place, "hf50", "accuracy")
            if found := difference(runs, head(place, arm, "accuracy"), reference):
                said.append(f"- {title}: {reading(ARMS[arm], found, 'accuracy')}")
    return "\n".join([*said, *_power(runs, titles)])


def _power(runs: Sequence[Run], titles: Mapping[int, str]) -> list[str]:
    """The smallest gain of West-of-N that these seeds could have seen, cell by cell."""
    sizes = []
    for place, title in titles.items():
        reference = head(place, "hf50", "accuracy")
        change = difference(runs, head(place, "west", "accuracy"), reference)
        if change is not None and change.detectable is not None:
            sizes.append(f"±{percent(change.detectable)} with {title}")
    if not sizes:
        return []
    return [
        f"- With {len(runs)} seeds, a difference of West-of-N to HF50 below these points would be "
        f"seen in fewer than four of five repeats: {', '.join(sizes)}."
    ]


def _networks(runs: Sequence[Run], places: Sequence[int]) -> str:
    """Trained networks: HF50, and the two arms less HF50."""
    if not places:
        return ""
    metrics = [m for m in METRICS if mean(runs, network(places[0], "hf50", m))]
    rows, said = [], []
    for place in places:
        pairs = f"{runs[0].cells[place].pairs[0]:,} pairs"
        for arm in ("hf50", "hf100", "west"):
            cells = []
            for metric in metrics:
                own, reference = network(place, arm, metric), network(place, "hf50", metric)
                if arm == "hf50":
                    cells.append(share(mean(runs, own)))
                    continue
                found = difference(runs, own, reference)
                cells.append(gain(found))
                if found and metric == "accuracy":
                    said.append(f"- {pairs}, networks: {reading(ARMS[arm], found, metric)}")
            rows.append(line([pairs, ARMS[arm], *cells]))
    heads = line(["trained networks", "", *(METRICS[metric] for metric in metrics)])
    return "\n".join([heads, rule(2, len(metrics)), *rows, "", *said])


def _conditions(runs: Sequence[Run], cells: Sequence[tuple[int, Measured]]) -> str:
    """Human pairs of some systems: κ, κ_H and the arms, a row a condition."""
    if not cells:
        return ""
    rows, said = [], []
    for place, cell in cells:
        accuracy = [
            _against(runs, place, arm, "accuracy") for arm in ("hf50", "hf100", "west", "prior")
        ]
        near = _against(runs, place, "west", "near_accuracy")
        kappas = [plain(mean(runs, direction(place, key))) for key in ("kappa", "kappa_human")]
        rows.append(
            line([CONDITIONS[cell.condition], f"{cell.pairs[0]}", *kappas, *accuracy, near])
        )
        found = difference(runs, head(place, "west", "accuracy"), head(place, "hf50", "accuracy"))
        if found:
            title = CONDITIONS[cell.condition]
            said.append(
                f"- {title[0].upper()}{title[1:]}: {reading(ARMS['west'], found, 'accuracy')}"
            )
    heads = line(
        ["human pairs", "in HF50", "κ", "κ_H", "HF50, %", "HF100", "West-of-N", "covariance prior",
         "West-of-N, nearest test pairs"]
    )  # fmt: skip
    return "\n".join(
        [
            "### Human pairs of some systems",
            "",
            "The files do not name the system of a text. Spelling tells some: of 630 inputs none "
            "has more than one text without a capital letter, so one system writes so, and none "
            "has more than two with a space before a full stop or a comma. Their pairs stand for "
            "pairs of one system, and of two, against the others. Near and far are by the "
            "policy's likelihood (per token, of the less likely text of a pair): off-policyness "
            "that can be seen. The test pairs are those of all systems.",
            "",
            heads,
            rule(1, 8),
            *rows,
            "",
            *said,
        ]
    )


def _gold(runs: Sequence[Run], cells: Sequence[tuple[int, Measured]]) -> str:
    """Right labels of best-and-worst selection among human texts, against N."""
    if not cells or not cells[0][1].gold:
        return ""
    sizes = [*map(str, POOL_SIZES), WHOLE]

    def of_arm(place: int, arm: str, size: str) -> Get:
        return lambda run: _point(run.cells[place].gold.get(arm, ()), size, "right")

    def of_baseline(arm: str, size: str) -> Get:
        return lambda run: _point(run.gold.get(arm, ()), size, "right")

    rows = [
        line(
            [
                f"{ARMS[arm]}, {cell.pairs[0]:,} pairs",
                *(share(mean(runs, of_arm(place, arm, size))) for size in sizes),
            ]
        )
        for place, cell in cells
        for arm in ("hf50", "hf100", "west")
    ]
    rows += [
        line([title, *(share(mean(runs, of_baseline(arm, size))) for size in sizes)])
        for arm, title in BASELINES.items()
    ]
    last = cells[-1][0]

    def judged_share(size: str) -> Get:
        return lambda run: _point(run.cells[last].gold["hf50"], size, "judged")

    judged = [share(mean(runs, judged_share(size))) for size in sizes]
    change = difference(runs, of_arm(last, "hf50", WHOLE), of_arm(last, "hf50", "2"))
    return "\n".join(
        [
            "### Right labels against N, by human gold",
            "",
            "Of the pairs that a teacher selects as best and worst of N human texts of a "
            "held-out debate, the share that people order in the same way, in percent, among "
            "those that people judged.",
            "",
            line(["teacher", *(f"N = {size}" for size in sizes)]),
            rule(1, len(sizes)),
            *rows,
            line(["selected pairs that people judged", *judged]),
            "",
            f"- From N = 2 to all texts, the teacher of HF50 with the most labels changes by "
            f"{gain(change)} points of right labels.",
        ]
    )


def _point(curve: Sequence[Mapping[str, float | int | str]], size: str, key: str) -> float | None:
    return next((number(point.get(key)) for point in curve if point["n"] == size), None)
