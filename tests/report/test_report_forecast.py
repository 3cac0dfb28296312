"""The forecast on the page and in metrics.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.report.conftest import FORECAST, Run
from westofn.report.forecast import forecast_section
from westofn.report.metrics import collect_metrics


def test_the_section_says_kappa_its_meaning_and_the_advice() -> None:
    section = forecast_section(FORECAST)
    kappa, meaning, advice = section.sentences
    assert kappa.startswith("κ is 8.0 (6.0 to 10.0) for the policy's samples, κ_H 4.0 (3.0 to 5.0)")
    assert "κ/κ_H 2.0 (1.5 to 2.5)" in kappa
    assert "where κ is below κ_H it can hurt" in meaning
    assert advice == FORECAST["advice"]
    (row,) = section.table.rows
    assert row.name == "West-of-N, N = 64, one pair a prompt"
    assert [(cell.text, cell.remark) for cell in row.cells] == [("+1.50", "0.25 to 2.75")] * 2


def test_a_forecast_without_kappa_says_so_and_metrics_have_none(
    make_run: Callable[..., Run],
) -> None:
    unknown: dict[str, Any] = FORECAST | {"kappa": None}
    assert forecast_section(unknown).sentences[0].startswith("κ was not measured")
    run = make_run()
    assert collect_metrics(run.inputs())["k1"]["kappa_ratio"] == 2.0
    run.json("forecast/forecast.json", unknown)
    assert "kappa" not in collect_metrics(run.inputs())["k1"]
