"""Curves of all arms as flat lists of records: the data of every figure and of `dvc plots`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from westofn.report.inputs import BASE, Record, ReportInputs, having
from westofn.report.numbers import wilson

DIGITS = 6
ARM_NAMES = {BASE: "base", "hf50": "HF50", "hf100": "HF100"}
LABEL_KEYS = ("n", "accuracy", "low", "high", "p_true", "bound", "bound_q95")
BEST_OF_N_KEYS = (
    "n",
    "kl",
    "gold",
    "gold_low",
    "gold_high",
    "proxy",
    "proxy_low",
    "proxy_high",
    "win_rate_n",
    "win_rate",
    "win_rate_low",
    "win_rate_high",
)
RL_KEYS = ("step", "reward", "gold", "kl", "length", "win_rate", "entropy")
SFT_KEYS = ("sft_reward", "sft_gold")
TRAINING_KEYS = ("split", "step", "member", "run", "power", "loss", "accuracy", "reward")
BASELINE_KEYS = ("longest_accuracy", "shortest_accuracy")

Records = list[dict[str, Any]]


def arm_name(name: str) -> str:
    """The short name of an arm in figures and tables.

    >>> arm_name("hf50"), arm_name("k1")
    ('HF50', 'k1')
    """
    return ARM_NAMES.get(name, name)


def plot_records(inputs: ReportInputs) -> dict[str, Records]:
    """The records of every plot; an empty list where nothing was measured.

    Returns:
        Records by plot (`label_accuracy`, `best_of_n`, `reliability`, `length`, `rl`, `training`);
        each has the short name of its `arm`, or of its model; floats are rounded to 6 digits.
        `low` and `high` of reliability and length are Wilson's 95 % interval of the bin.
    """
    records = {
        "label_accuracy": _label_accuracy(inputs),
        "best_of_n": _by_arm(inputs, "best_of_n", _best_of_n),
        "reliability": _by_arm(inputs, "reliability", _reliability),
        "length": _length(inputs),
        "rl": _rl(inputs),
        "training": _training(inputs),
    }
    return {name: [_rounded(record) for record in rows] for name, rows in records.items()}


def _by_arm(
    inputs: ReportInputs, curve: str, select: Callable[[Sequence[Record]], Records]
) -> Records:
    return [
        {"arm": arm_name(name), **record}
        for name in inputs.order
        for record in select(inputs.arms[name].curves.get(curve, []))
    ]


def _best_of_n(curve: Sequence[Record]) -> Records:
    return [_keep(record, BEST_OF_N_KEYS) for record in having(curve, "n")]


def _reliability(curve: Sequence[Record]) -> Records:
    return [
        _keep(record, ("p_low", "p_high", "p_mean", "accuracy", "pairs")) | _interval(record)
        for record in having(curve, "p_mean", "accuracy", "pairs")
        if record["pairs"] > 0
    ]


def _length(inputs: ReportInputs) -> Records:
    return [
        {"arm": arm_name(name), **bin_, **_keep(inputs.arms[name].metrics, BASELINE_KEYS)}
        for name in inputs.order
        for bin_ in _length_bins(inputs.arms[name].curves.get("length", []))
    ]


def _length_bins(curve: Sequence[Record]) -> Records:
    edges = ("length_difference_low", "length_difference_high")
    return [
        _keep(record, (*edges, "accuracy", "pairs"))
        | {"length_difference": _middle(*(record.get(edge) for edge in edges))}
        | _interval(record)
        for record in having(curve, "accuracy", "pairs")
        if record["pairs"] > 0 and any(_is_finite(record.get(edge)) for edge in edges)
    ]


def _label_accuracy(inputs: ReportInputs) -> Records:
    rows = []
    for name in inputs.iterations:
        arm = inputs.arms[name]
        control = _keep(arm.metrics, ("label_accuracy_random",))
        for record in having(arm.curves.get("label_accuracy", []), "n", "accuracy"):
            point = _keep(record, LABEL_KEYS)
            rows.append({"arm": arm_name(name), **point, **control})
    return rows


def _rl(inputs: ReportInputs) -> Records:
    return [
        {"arm": arm_name(name), **_keep(record, RL_KEYS), **_keep(iteration.rl_metrics, SFT_KEYS)}
        for name, iteration in inputs.iterations.items()
        for record in having(iteration.rl_curve, "step")
    ]


def _training(inputs: ReportInputs) -> Records:
    return [
        {"arm": arm_name(name), **_keep(point, TRAINING_KEYS)}
        for name, curve in inputs.training.items()
        for point in having(curve, "split", "step")
    ]


def _interval(record: Record) -> dict[str, float]:
    low, high = wilson(record["accuracy"], record["pairs"])
    return {"low": low, "high": high}


def _is_finite(edge: float | None) -> bool:
    return edge is not None and abs(edge) != float("inf")


def _middle(low: float | None, high: float | None) -> float:
    """The middle of a bin; an open bin stands at its one edge."""
    edges = [edge for edge in (low, high) if edge is not None and _is_finite(edge)]
    return sum(edges) / len(edges)


def _keep(record: Record, keys: Sequence[str]) -> dict[str, Any]:
    return {key: record[key] for key in keys if key in record}


def _rounded(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: round(value, DIGITS) if isinstance(value, float) else value
        for key, value in record.items()
        if not isinstance(value, float) or _is_finite(value)
    }
