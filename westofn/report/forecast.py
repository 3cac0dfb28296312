"""The page's section on the forecast: κ with what it means, and the gains that it expects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from westofn.core.forecast_terms import METRIC_TITLES, TITLES
from westofn.report.inputs import Record
from westofn.report.numbers import decimal, signed
from westofn.report.tables import Cell, DataTable, Row

DIGITS = 2


@dataclass(frozen=True)
class ForecastSection:
    """What the page shows of data/forecast/forecast.json."""

    sentences: Sequence[str]
    table: DataTable


def forecast_section(forecast: Record) -> ForecastSection:
    """The section of a forecast's record."""
    rows = [
        Row(TITLES.get(arm, arm), [_gain(gains[metric]) for metric in METRIC_TITLES])
        for arm, gains in forecast["gains"].items()
    ]
    table = DataTable("Expected gain over the labels alone", list(METRIC_TITLES.values()), rows)
    return ForecastSection([*_kappa(forecast), str(forecast["advice"])], table)


def _kappa(forecast: Record) -> list[str]:
    kappa = forecast["kappa"]
    if kappa is None:
        return ["κ was not measured: two halves of the human pairs agree on no direction."]
    policy, human, ratio = (
        f"{decimal(kappa[key], 1)} ({_ends(kappa[f'{key}_interval'])})"
        for key in ("policy", "human", "ratio")
    )
    return [
        f"κ is {policy} for the policy's samples, κ_H {human} for the human pairs, "
        f"and κ/κ_H {ratio}; 95 % intervals over pairs.",
        "κ says how much more texts vary along what people care about than along a random "
        "direction of the base model's features. West-of-N has room where κ is well above κ_H "
        "and labels are few; where κ is below κ_H it can hurt.",
    ]


def _ends(interval: Sequence[float]) -> str:
    return " to ".join(decimal(end, 1) for end in interval)


def _gain(gain: Record) -> Cell:
    ends = " to ".join(decimal(gain[end], DIGITS) for end in ("low", "high"))
    return Cell(signed(gain["mean"], DIGITS), ends)
