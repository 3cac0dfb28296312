"""docs/map.md: the map as tables, with what was predicted beside what happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.map.settings import ARMS, METRICS, SIZES_AT, Place
from benchmarks.map.summary import (
    CellSummary,
    Record,
    cells,
    foreseen_of,
    gain_of,
    over_cells,
    ratio,
)
from westofn.core.intervals import MeanInterval
from westofn.report.markdown import line, rule

INTRO = (
    "# The map: where West-of-N helps\n\n"
    "Made by `make map`: {seeds} seeds with linear heads on frozen features of the SFT "
    "policy, each seed the mean of two draws of the labels, and {network_seeds} seeds with "
    "trained networks in six places. Policies train for 500 steps and networks once; the "
    "default is 1,000 steps and three runs. Every difference is to HF50 of the same seed and "
    "labels; means with 95 % t-intervals over seeds. All numbers are in "
    "[map.json](../benchmarks/map.json). [theory.md](theory.md) has the derivation and the "
    "predictions, which were committed before the map was run.\n\n"
    "A place is an alignment (how much of what annotators like is what the policy's samples "
    "vary in), an off-policyness (how much the human pairs vary in ways of their own) and a "
    "number of human pairs in HF100; half of them are HF50, and as many prompts are D_U. κ "
    "says how much more the policy's samples vary along what people care about than along a "
    "random direction, κ_H the same of the human pairs; both are measured on the base model's "
    "features, split-half. Alignment 0 with off-policyness 0 is the default world of earlier "
    "versions, which had 800 pairs."
)


@dataclass(frozen=True)
class Outcome:
    """A prediction, what was measured, and whether it held."""

    prediction: str
    measured: str
    held: bool


def map_page(records: Sequence[Record]) -> str:
    """The page, from the records of benchmarks/map.json."""
    linear, networks = cells(records, "linear"), cells(records, "networks")
    blocks = [
        INTRO.format(seeds=_seeds(linear), network_seeds=_seeds(networks)),
        "## What was predicted, and what happened",
        _outcome_table(outcomes(linear, networks)),
        "## Gain against κ/κ_H",
        "![Gain of West-of-N and of twice the labels against κ/κ_H](figures/map.svg)",
        "## Every place, linear heads",
        _place_table(linear),
        *(
            ["## Trained networks", NETWORKS_TEXT, _network_table(networks, linear)]
            if networks
            else []
        ),
        "## Pool size and pairs a prompt, aligned and off-policy",
        "![Gain against N](figures/map-n.svg)",
        _size_table(_at(linear, SIZES_AT)),
        "## West-of-N against the covariance prior",
        "![West-of-N against the covariance prior, a dot a place](figures/map-prior.svg)",
        "## The forecast against what happened",
        "![Forecast against gain, a dot a place](figures/map-forecast.svg)",
        _forecast_table(linear),
    ]
    return "\n\n".join(blocks) + "\n"


NETWORKS_TEXT = (
    "The function that trains the pipeline's models, with its default recipe, on one draw of the "
    "labels; the teacher is the base model. Gains of trained networks beside those of linear heads "
    "at the same place."
)


def outcomes(linear: Sequence[CellSummary], networks: Sequence[CellSummary]) -> list[Outcome]:
    """The predictions of docs/theory.md in their order."""
    checks: list[Callable[[], Outcome]] = [
        lambda: _rank(linear),
        lambda: _aligned_gain(linear),
        lambda: _unaligned(linear),
        lambda: _on_policy(linear),
        lambda: _scarce(linear),
        lambda: _prior_is_west(linear),
        lambda: _validated_prior(linear),
        lambda: _sizes(linear),
        lambda: _networks_agree(linear, networks),
        lambda: _foreseen(linear),
    ]
    return [check() for check in checks]


def _rank(linear: Sequence[CellSummary]) -> Outcome:
    found = over_cells(linear, ratio, gain_of("west", "on_policy_accuracy"))
    return Outcome(
        "Gain of West-of-N in on-policy accuracy rises with κ/κ_H: rank correlation ≥ 0.7",
        f"{found}",
        found.value >= 0.7,
    )


def _aligned_gain(linear: Sequence[CellSummary]) -> Outcome:
    cell = _at(linear, Place(0.9, 1.0, 100))
    west, twice = (cell.gain(arm, "best_of_n_win_rate") for arm in ("west", "hf100"))
    return Outcome(
        "At 0.9, 1, 100 West-of-N gains wins, at least half of what twice the labels gain",
        f"{_show(west)} against {_show(twice)}",
        west.low > 0 and west.mean >= twice.mean / 2,
    )


def _unaligned(linear: Sequence[CellSummary]) -> Outcome:
    gains = {c.place.name: c.gain("west", "accuracy") for c in linear if not c.place.alignment}
    name = max(gains, key=lambda place: gains[place].mean)
    return Outcome(
        "At alignment 0 the gain in held-out accuracy is at most +0.3 points everywhere",
        f"largest {_show(gains[name])} at {name}",
        gains[name].mean <= 0.3,
    )


def _on_policy(linear: Sequence[CellSummary]) -> Outcome:
    gains = [
        [
            _at(linear, Place(0.9, off, labels)).gain("west", "on_policy_accuracy").mean
            for labels in sorted({c.place.labels for c in linear})
        ]
        for off in (0.0, 1.0)
    ]
    on, off = (float(np.mean(values)) for values in gains)
    return Outcome(
        "At alignment 0.9 on-policy human pairs give less than half of the gain in on-policy "
        "accuracy that off-policy ones give",
        f"{on:+.2f} against {off:+.2f}, means over labels",
        on < off / 2,
    )


def _scarce(linear: Sequence[CellSummary]) -> Outcome:
    few, many = (
        _at(linear, Place(0.9, 1.0, labels)).gain("west", "on_policy_accuracy")
        for labels in (100, 400)
    )
    return Outcome(
        "At 0.9, 1 the gain in on-policy accuracy falls from 100 to 400 labels",
        f"{_show(few)} to {_show(many)}",
        many.mean < few.mean,
    )


def _prior_is_west(linear: Sequence[CellSummary]) -> Outcome:
    found = over_cells(
        linear, gain_of("prior1", "on_policy_accuracy"), gain_of("west", "on_policy_accuracy")
    )
    return Outcome(
        "The prior with p = 1 gains what West-of-N gains: rank correlation ≥ 0.8",
        f"{found}",
        found.value >= 0.8,
    )


def _validated_prior(linear: Sequence[CellSummary]) -> Outcome:
    gains = {c.place.name: c.gain("prior", "on_policy_accuracy") for c in linear}
    name = min(gains, key=lambda place: gains[place].mean)
    return Outcome(
        "The prior with p by validation harms on-policy accuracy nowhere by more than 0.5 points",
        f"smallest {_show(gains[name])} at {name}",
        gains[name].mean >= -0.5,
    )


def _sizes(linear: Sequence[CellSummary]) -> Outcome:
    cell = _at(linear, SIZES_AT)
    one, two, many = (cell.gain(arm, "best_of_n_win_rate") for arm in ("west", "n2", "west16"))
    return Outcome(
        "N = 64 with one pair is not better than N = 2; sixteen pairs are better than one (wins)",
        f"N = 64 {_show(one)}, N = 2 {_show(two)}, sixteen {_show(many)}",
        one.mean <= two.mean and many.mean > one.mean,
    )


def _networks_agree(linear: Sequence[CellSummary], networks: Sequence[CellSummary]) -> Outcome:
    corners = [c for c in networks if c.place.alignment in (0.0, 0.9)]
    shown, same = [], bool(corners)
    for cell in corners:
        net = cell.gain("west", "on_policy_accuracy")
        head = _at(linear, cell.place).gain("west", "on_policy_accuracy")
        shown.append(f"{cell.place.name}: {net.mean:+.1f} and {head.mean:+.1f}")
        same &= (net.mean > 0) == (head.mean > 0)
    return Outcome(
        "Trained networks have the sign of linear heads in the corners (on-policy accuracy)",
        "; ".join(shown) or "not run",
        same,
    )


def _foreseen(linear: Sequence[CellSummary]) -> Outcome:
    metric = "on_policy_accuracy"
    found = over_cells(linear, foreseen_of("west N=64 k=1", metric), gain_of("west", metric))
    return Outcome(
        "The forecast orders the places as what happens does: rank correlation ≥ 0.8",
        f"{found}",
        found.value >= 0.8,
    )


def _verdict(outcome: Outcome) -> str:
    if outcome.measured == "not run":
        return "open"
    return "held" if outcome.held else "**failed**"


def _outcome_table(found: Sequence[Outcome]) -> str:
    rows = [
        line([str(number), o.prediction, o.measured, _verdict(o)])
        for number, o in enumerate(found, start=1)
    ]
    return "\n".join([line(["", "predicted", "measured", "verdict"]), rule(4, 0), *rows])


def _place_table(linear: Sequence[CellSummary]) -> str:
    heads = ["alignment, off-policyness, labels", "κ", "κ_H", "κ/κ_H", "HF50: held-out / on-policy"]
    heads += ["West-of-N: held-out", "on-policy", "wins", "HF100: on-policy", "wins"]
    heads += ["prior by validation: on-policy", "wins"]
    rows = [line(heads), rule(1, len(heads) - 1)]
    for cell in linear:
        kappas = [_number(cell.kappa(key)) for key in ("policy", "human", "ratio")]
        level = f"{cell.level('accuracy').mean:.1f} / {cell.level('on_policy_accuracy').mean:.1f}"
        gains = [
            _show(cell.gain(arm, metric))
            for arm, metric in (
                ("west", "accuracy"),
                ("west", "on_policy_accuracy"),
                ("west", "best_of_n_win_rate"),
                ("hf100", "on_policy_accuracy"),
                ("hf100", "best_of_n_win_rate"),
                ("prior", "on_policy_accuracy"),
                ("prior", "best_of_n_win_rate"),
            )
        ]
        rows.append(line([cell.place.name, *kappas, level, *gains]))
    return "\n".join(rows)


def _network_table(networks: Sequence[CellSummary], linear: Sequence[CellSummary]) -> str:
    heads = ["place", "arm", *METRICS.values(), "linear heads: on-policy", "wins"]
    rows = [line(heads), rule(2, len(heads) - 2)]
    for cell in networks:
        same = _at(linear, cell.place)
        for arm in ("hf100", "west", "west16"):
            gains = [_show(cell.gain(arm, metric)) for metric in METRICS]
            heads_gain = [
                _show(same.gain(arm, metric))
                for metric in ("on_policy_accuracy", "best_of_n_win_rate")
            ]
            rows.append(line([cell.place.name, ARMS[arm], *gains, *heads_gain]))
    return "\n".join(rows)


def _size_table(cell: CellSummary) -> str:
    rows = [line(["arm", *METRICS.values()]), rule(1, len(METRICS))]
    names = {**{f"n{n}": f"N = {n}" for n in (2, 4, 8, 16, 32)}, "west": "N = 64"}
    names |= {arm: ARMS[arm] for arm in ("west16", "best_random", "prior1", "prior", "hf100")}
    for arm, title in names.items():
        rows.append(line([title, *(_show(cell.gain(arm, metric)) for metric in METRICS)]))
    return "\n".join(rows)


def _forecast_table(linear: Sequence[CellSummary]) -> str:
    rows = [line(["arm", "metric", "rank correlation", "in the interval"]), rule(2, 2)]
    arms = {"west": "west N=64 k=1", "prior": "prior", "hf100": "twice the labels"}
    for arm, name in arms.items():
        for metric in ("accuracy", "on_policy_accuracy"):
            found = over_cells(linear, foreseen_of(name, metric), gain_of(arm, metric))
            inside = [
                r["forecast"]["gains"][name][metric]["low"]
                <= r["first_draw"][arm][metric]
                <= r["forecast"]["gains"][name][metric]["high"]
                for cell in linear
                for r in cell.records
            ]
            share = f"{100 * np.mean(inside):.0f} %"
            rows.append(line([ARMS[arm], METRICS[metric], f"{found}", share]))
    text = (
        "The forecast sees one draw of the labels and sixteen random samples a prompt. The last "
        "column says how often the gain of that draw lay in the forecast's 95 % interval."
    )
    return "\n".join([text, "", *rows])


def _seeds(summaries: Sequence[CellSummary]) -> int:
    """How many seeds the places have."""
    return len({record["seed"] for cell in summaries for record in cell.records})


def _at(summaries: Sequence[CellSummary], place: Place) -> CellSummary:
    return next(cell for cell in summaries if cell.place == place)


def _show(interval: MeanInterval) -> str:
    return f"{interval.mean:+.2f} ± {interval.half:.2f}"


def _number(value: Any) -> str:
    return "—" if value is None else f"{value:.1f}"
