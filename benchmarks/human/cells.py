"""Numbers of the runs for the page: what a cell measured, and how a mean is written."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.human.records import Get
from westofn.report.numbers import decimal, percent, points
from westofn.study.means import Cell

ARMS: Mapping[str, str] = {
    "hf50": "HF50",
    "hf100": "HF100",
    "west": "West-of-N",
    "several": "several best with several worst",
    "random_pair": "N = 2",
    "best_random": "best against random",
    "prior": "covariance prior",
}
"""Arm of linear heads -> its title, in the order of the rows."""

BASELINES: Mapping[str, str] = {
    "longest": "the longer response",
    "shortest": "the shorter response",
    "words_hf50": "words and length, half of the pairs",
    "words_hf100": "words and length, all pairs",
}

METRICS: Mapping[str, str] = {
    "accuracy": "held-out accuracy",
    "near_accuracy": "accuracy on the half of the test pairs nearest to the policy",
    "win_rate": "best-of-N win rate by the judge",
}
"""A share -> its title."""


def head(place: int, arm: str, metric: str) -> Get:
    """A metric of an arm's linear heads in a run's cell."""
    return lambda run: number(run.cells[place].heads.get(arm, {}).get(metric))


def network(place: int, arm: str, metric: str) -> Get:
    """A metric of an arm's trained network in a run's cell."""
    return lambda run: number(run.cells[place].networks.get(arm, {}).get(metric))


def baseline(arm: str, metric: str) -> Get:
    """A metric of what needs no reward model."""
    return lambda run: number(run.baselines.get(arm, {}).get(metric))


def direction(place: int, key: str) -> Get:
    """κ, κ_H or their ratio in a run's cell."""
    return lambda run: number(run.cells[place].directions.get(key))


def foreseen(place: int, key: str) -> Get:
    """A number of the forecast in a run's cell."""
    return lambda run: number(run.cells[place].forecast.get(key))


def number(value: float | int | str | None) -> float | None:
    """A value of a record; None where it was not measured."""
    return None if value is None else float(value)


def reading(arm: str, cell: Cell, metric: str, reference: str = "HF50") -> str:
    """What the interval of a difference says, and what it excludes.

    Args:
        arm: Title of what is compared.
        cell: The arm less the reference.
        metric: A key of METRICS.
        reference: Title of what it is compared with.

    >>> reading("West-of-N", Cell(0.02, 0.01), "accuracy")
    'West-of-N is above HF50: +2.0 ± 1.0 points of held-out accuracy.'
    >>> reading("West-of-N", Cell(-0.002, 0.01), "accuracy")
    'West-of-N is not told apart from HF50: −0.2 ± 1.0 points of held-out accuracy, which excludes \
a gain above 0.8 and a loss above 1.2.'
    >>> reading("HF100", Cell(0.01, None), "accuracy")
    'HF100 less HF50 is +1.0 points of held-out accuracy in one seed.'
    """
    size = f"{gain(cell)} points of {METRICS[metric]}"
    if cell.half is None:
        return f"{arm} less {reference} is {size} in one seed."
    if cell.verdict != "not told apart":
        return f"{arm} is {cell.verdict} {reference}: {size}."
    most, least = percent(max(cell.high, 0.0)), percent(max(-cell.low, 0.0))
    return (
        f"{arm} is not told apart from {reference}: {size}, which excludes a gain above {most} and "
        f"a loss above {least}."
    )


def plain(cell: Cell | None) -> str:
    """A mean number.

    >>> plain(Cell(2.9, 0.4)), plain(None)
    ('2.90 ± 0.40', '—')
    """
    if cell is None:
        return "—"
    return decimal(cell.mean) + ("" if cell.half is None else f" ± {decimal(cell.half)}")


def share(cell: Cell | None) -> str:
    """A mean share in percent.

    >>> share(Cell(0.614, 0.012)), share(Cell(0.614, None)), share(None)
    ('61.4 ± 1.2', '61.4', '—')
    """
    if cell is None:
        return "—"
    return percent(cell.mean) + ("" if cell.half is None else f" ± {percent(cell.half)}")


def gain(cell: Cell | None) -> str:
    """A mean difference of shares in points, with its sign."""
    if cell is None:
        return "—"
    return points(cell.mean) + ("" if cell.half is None else f" ± {percent(cell.half)}")
