from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from conftest import Run
from rich.console import Console

from westofn.report.console import print_summary
from westofn.report.metrics import collect_metrics

PATH = Path("data/report/report.html")


def printed(run: Run) -> list[str]:
    file = io.StringIO()
    print_summary(collect_metrics(run.inputs()), PATH, Console(file=file, width=80))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_the_summary_fits_eighty_columns_and_cuts_nothing(make_run: Callable[..., Run]) -> None:
    lines = printed(make_run(iterations=("k1", "k2")))
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)


def test_every_arm_has_its_row(run: Run) -> None:
    rows = [line.split() for line in printed(run)]
    assert ["HF50", "70.0", "(68.0–72.0)", "80.0", "3.50", "–", "–", "–"] in rows
    assert ["k1", "71.5", "(69.5–73.5)", "81.5", "3.58", "96.0", "3.60", "5.20"] in rows
    assert ["base", "74.0", "84.0", "–", "–", "–", "–"] in rows


def test_without_gold_win_rates_stand_in(make_run: Callable[..., Run]) -> None:
    rows = [line.split() for line in printed(make_run(gold=False))]
    assert ["k1", "71.5", "(69.5–73.5)", "81.5", "81.0", "5.20"] in rows


def test_the_report_is_named_in_one_piece_and_as_it_is(run: Run) -> None:
    path = Path("/a[b]/" + "long/" * 30 + "report.html")
    file = io.StringIO()
    print_summary(collect_metrics(run.inputs()), path, Console(file=file, width=80))
    assert f"Report: {path}\n" in file.getvalue()
