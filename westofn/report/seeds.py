"""Several runs that differ in their seed: means, intervals, and paired differences of arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from westofn.core.intervals import mean_interval

Metrics = Mapping[str, Mapping[str, float]]
"""One run's metrics.json: arm -> metric -> value."""


@dataclass(frozen=True)
class Estimate:
    """A mean over runs with its 95 % t-interval; half is 0 for a single run's unknown spread.

    >>> estimate([1.0, 2.0, 3.0]).mean
    2.0
    >>> round(estimate([1.0, 2.0, 3.0]).half, 3)  # 4.303 × 1 / sqrt(3)
    2.484
    """

    mean: float
    half: float
    runs: int


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and half-width of the 95 % interval of independent runs.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no runs to average")
    if len(values) == 1:
        return Estimate(values[0], 0.0, 1)
    interval = mean_interval(values)
    return Estimate(interval.mean, interval.half, interval.count)


def across(runs: Sequence[Metrics], arm: str, metric: str) -> Estimate | None:
    """One arm's metric over the runs; None where a run did not measure it."""
    values = [run.get(arm, {}).get(metric) for run in runs]
    known = [value for value in values if value is not None]
    return estimate(known) if len(known) == len(values) and known else None


def difference(runs: Sequence[Metrics], arm: str, other: str, metric: str) -> Estimate | None:
    """An arm's metric less another's in the same run, over the runs."""
    values = []
    for run in runs:
        first, second = run.get(arm, {}).get(metric), run.get(other, {}).get(metric)
        if first is None or second is None:
            return None
        values.append(first - second)
    return estimate(values) if values else None


COLUMNS = (
    ("accuracy", "held-out accuracy", 100.0),
    ("high_confidence_accuracy", "accuracy on sure pairs", 100.0),
    ("on_policy_accuracy", "on-policy accuracy", 100.0),
    ("best_of_n_gold", "best-of-N gold", 1.0),
    ("best_of_n_win_rate", "best-of-N win rate", 100.0),
    ("rl_gold", "RL gold", 1.0),
    ("rl_win_rate", "RL win rate", 100.0),
)


def markdown_table(runs: Sequence[Metrics], arms: Mapping[str, str], baseline: str) -> str:
    """The arms' means, then every arm's paired difference to the baseline.

    Args:
        runs: One metrics.json a seed.
        arms: Key in metrics.json -> name in the table, in order.
        baseline: The arm that differences are taken to.
    """
    shown = [c for c in COLUMNS if any(across(runs, arm, c[0]) for arm in arms)]
    head = "| | " + " | ".join(title for _, title, _ in shown) + " |"
    rule = "|---|" + "---:|" * len(shown)
    rows = [
        _row(name, [across(runs, arm, metric) for metric, _, _ in shown], shown)
        for arm, name in arms.items()
    ]
    rows += [
        _row(
            f"{name} − {arms[baseline]}",
            [difference(runs, arm, baseline, metric) for metric, _, _ in shown],
            shown,
            signed=True,
        )
        for arm, name in arms.items()
        if arm != baseline and across(runs, arm, "accuracy")
    ]
    return "\n".join([head, rule, *rows])


def _row(
    name: str,
    cells: Sequence[Estimate | None],
    shown: Sequence[tuple[str, str, float]],
    *,
    signed: bool = False,
) -> str:
    texts = []
    for cell, (_, _, scale) in zip(cells, shown, strict=True):
        if cell is None:
            texts.append("—")
            continue
        digits = 1 if scale == 100.0 else 2
        sign = "+" if signed else ""
        mean, half = cell.mean * scale, cell.half * scale
        texts.append(f"{mean:{sign}.{digits}f} ± {half:.{digits}f}")
    return f"| {name} | " + " | ".join(texts) + " |"
