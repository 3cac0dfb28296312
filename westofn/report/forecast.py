"""The page's section on the forecast: κ with what it means, and the gains that it expects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from westofn.core.forecast_terms import METRIC_TITLES, TITLES
from westofn.report.inputs import Record
from westofn.report.numbers import Measure, decimal, signed
from westofn.report.tables import Cell, DataTable, Row
from westofn.report.templates import sentence

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
        return [sentence("no_kappa")]
    policy, human, ratio = (
        Measure(kappa[key], *kappa[f"{key}_interval"]) for key in ("policy", "human", "ratio")
    )
    return [
        sentence("kappa", policy=policy, human=human, ratio=ratio),
        sentence("kappa_means"),
    ]


def _gain(gain: Record) -> Cell:
    ends = " to ".join(decimal(gain[end], DIGITS) for end in ("low", "high"))
    return Cell(signed(gain["mean"], DIGITS), ends)
