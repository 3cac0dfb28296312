"""README's block of results from study.json: the headline table and what it could have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from westofn.errors import DataError
from westofn.report.markdown import line, rule
from westofn.report.study_catalogue import PAPER, REFERENCE, Group
from westofn.report.study_results import (
    METRICS,
    Row,
    Run,
    Study,
    against_paper,
    cell,
    in_words,
    power_line,
    rows,
)
from westofn.study.pages import SHOWN, made_by, shown

START, END = "<!-- results -->", "<!-- /results -->"
MAP_FIGURE = "docs/figures/map.svg"
TABLE = Group(
    "headline",
    "",
    "",
    "baselines",
    {
        "hf50": "HF50",
        "west": "HF50 + West-of-N",
        "hf100": "HF100",
        "self_training": "HF50 + N = 2 (self-training)",
        "top_bottom16": "HF50 + 16 best with 16 worst",
        "best_random": "HF50 + best against random",
        "prior": "HF50 + covariance prior",
    },
)
"""The rows, each where all seeds have its arm."""


def results_block(study: Study, default: Mapping[str, float], figure: str = "") -> str:
    """The text between README's markers, without them.

    Args:
        study: What study.json holds.
        default: Settings of the default world: of another one the block says so.
        figure: Path of the map's figure from README; empty leaves it out.
    """
    if not study.runs:
        return "No study has been run: `make study` writes this block."
    found = rows(study.runs, TABLE)
    readings = [
        *_readings(study.runs, found),
        "[docs/results.md](docs/results.md) has all tables, the ablations and which of the paper's "
        "findings reproduce.",
    ]
    parts = [
        _opening(study, default),
        _table(found),
        " ".join(readings),
        f"![Gain over the map of worlds]({figure})" if figure else "",
    ]
    return "\n\n".join(part for part in parts if part)


def with_block(readme: Path, block: str) -> str:
    """README with another block of results.

    Raises:
        DataError: The file is missing, or the markers do not stand in it once and in order.
    """
    try:
        text = readme.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{readme}: no such file; needs one with {START} and {END}") from None
    if text.count(START) != 1 or text.count(END) != 1 or text.index(END) < text.index(START):
        raise DataError(f"{readme}: needs one {START} and after it one {END}; put them back")
    before, after = text[: text.index(START)], text[text.index(END) :]
    return f"{before}{START}\n{block}\n{after}"


def _opening(study: Study, default: Mapping[str, float]) -> str:
    count = len(study.seeds)
    which = f"{study.seeds[0]} to {study.seeds[-1]}" if count > 1 else str(study.seeds[0])
    names = f"{in_words(count).capitalize()} {'seeds' if count > 1 else 'seed'} ({which})"
    return (
        f"{names} on the embedded world (`{made_by(study.seeds)}`); each seed has its own world, "
        f"models and test set. {_place(study.world, default)} Means with 95 % t-intervals, "
        "in brackets differences to HF50, paired by seed; percent, and gold in its own units."
    )


def _place(world: Mapping[str, float], default: Mapping[str, float]) -> str:
    """Where the world lies on the map, and of the default how it was chosen."""
    if not {"alignment", "off_policyness", "train_pairs"} <= world.keys():
        return (
            "The world is that of an earlier version: what annotators like is hardly what the "
            "policy varies in, and HF50 has hundreds of labels."
        )
    what = (
        f"alignment {world['alignment']:g}, off-policyness {world['off_policyness']:g}, "
        f"{world['train_pairs'] / 2:.0f} labels in HF50"
    )
    if world != default:
        return f"This is not the default world ({what})."
    return (
        "The default world lies where the method is meant for: what annotators like is mostly what "
        "the policy varies in, human pairs vary in ways of their own, and labels are few "
        f"({what}). Seeds 0 to 8 were looked at while the place was found; it was kept by κ, κ_H, "
        "HF50 and HF100 on development worlds, and the recipe was chosen there too."
    )


def _table(found: Sequence[Row]) -> str:
    metrics = [metric for metric in SHOWN if any(metric in row.means for row in found)]
    heads = line(["", *(METRICS[m][0].split(",")[0] for m in metrics)])
    lines = [line([row.title, *(_mean_and_gain(row, m) for m in metrics)]) for row in found]
    return "\n".join([heads, rule(1, len(metrics)), *lines])


def _mean_and_gain(row: Row, metric: str) -> str:
    """A mean and, below it, the difference to HF50."""
    units = METRICS[metric][1:]
    text = shown(row.means.get(metric), *units)
    if metric not in row.differences:
        return text
    return f"{text}<br>({shown(row.differences[metric], *units, signed=True)})"


def _readings(runs: Sequence[Run], found: Sequence[Row]) -> list[str]:
    """Right labels, West-of-N against the paper's gain, and what the seeds could have seen."""
    west = next((row for row in found if row.arm == "west"), None)
    texts = [_labels(runs)]
    for metric in SHOWN if west else ():
        reported = PAPER.get(("west", REFERENCE, metric))
        if west and reported and metric in west.differences:
            name, scale, digits = METRICS[metric]
            verdict = against_paper(west.differences[metric], reported, scale, digits)
            texts.append(f"West-of-N − HF50, {name.split(',')[0]}: {verdict}.")
    texts.append(_prior(found, runs))
    texts.append(power_line([west] if west else [], "HF50", len(runs), SHOWN))
    return [text for text in texts if text]


def _prior(found: Sequence[Row], runs: Sequence[Run]) -> str:
    """The covariance prior against West-of-N, paired by seed."""
    if not {"prior", "west"} <= {row.arm for row in found}:
        return ""
    arms = [run["arms"]["baselines"] for run in runs]
    gains = []
    for metric in SHOWN:
        if all(metric in of_seed[arm] for of_seed in arms for arm in ("prior", "west")):
            name, scale, digits = METRICS[metric]
            gain = cell([of_seed["prior"][metric] - of_seed["west"][metric] for of_seed in arms])
            gains.append(f"{name.split(',')[0]} {shown(gain, scale, digits, signed=True)}")
    return (
        "The covariance prior labels no candidate and needs neither a teacher nor pools of 64; "
        f"less West-of-N it has {', '.join(gains)}."
    )


def _labels(runs: Sequence[Run]) -> str:
    """How many labels are right at N = 2, in the arm self-training, and at N = 64."""
    names = {"self_training": "of West-of-N pairs at N = 2", "west": "at N = 64"}
    key = "label_accuracy"
    arms = [run["arms"].get("baselines", {}) for run in runs]
    if not all(key in of_seed.get(name, {}) for of_seed in arms for name in names):
        return ""
    shares = [
        f"{shown(cell([of_seed[name][key] for of_seed in arms]), 100.0, 1)} % {what}"
        for name, what in names.items()
    ]
    return f"Right labels: {', '.join(shares)}."
