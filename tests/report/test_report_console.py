from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

from conftest import Run
from rich.console import Console

from westofn.execution.account import Account, Limit
from westofn.execution.guards import Reading
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


def test_every_arm_has_its_row_of_levels_with_intervals_below(run: Run) -> None:
    rows = [re.split(r"\s{2,}", line.strip()) for line in printed(run)]
    place = rows.index(["HF50", "70.0", "80.0", "3.50", "80.0"])
    ends = ["68.0 to 72.0", "78.0 to 82.0", "3.45 to 3.55", "77.0 to 83.0"]
    assert rows[place + 1] == ends
    place = rows.index(["base", "74.0", "84.0", "–", "–"])
    assert rows[place + 1] == ["72.0 to 76.0", "82.0 to 86.0"]
    names = [row[0] for row in rows if row[0] in ("HF50", "k1", "HF100", "base")]
    assert names[:4] == ["HF50", "k1", "HF100", "base"]


def test_every_other_arm_has_its_difference_to_hf50(run: Run) -> None:
    lines = printed(run)
    (start,) = [place for place, line in enumerate(lines) if line.startswith("Less HF50")]
    rows = [line.split() for line in lines[start:]]
    # k1 gains 1.5 points, and 5 × 0.015 of gold, on every prompt.
    assert ["k1", "+1.5", "+1.5", "+0.07", "+1.5"] in rows or [
        "k1", "+1.5", "+1.5", "+0.08", "+1.5"
    ] in rows  # fmt: skip
    assert rows[rows.index(next(row for row in rows if row[:1] == ["k1"])) + 1][:3] == [
        "1.5", "to", "1.5"
    ]  # fmt: skip
    assert "HF50" not in [row[0] for row in rows[1:] if row]


def test_labels_and_rl_have_a_row_an_iteration(run: Run) -> None:
    rows = [line.split() for line in printed(run)]
    assert ["k1", "96.0", "3.60", "81.0", "5.20"] in rows


def test_without_gold_accuracy_and_win_rates_stand_alone(make_run: Callable[..., Run]) -> None:
    lines = printed(make_run(gold=False))
    assert not any("on-policy\n" in line or "gold" in line for line in lines[:3])
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
    assert ["k1", "71.5", "81.5"] in rows
    assert ["69.5 to 73.5", "78.5 to 84.5"] in rows
    assert ["k1", "81.0", "5.20"] in rows


def test_metrics_of_an_earlier_version_are_printed_without_differences() -> None:
    file = io.StringIO()
    arms = {"base": {"accuracy": 0.62}, "hf50": {"accuracy": 0.6}}
    print_summary(arms, PATH, Console(file=file, width=80))
    assert "Less HF50" not in file.getvalue()
    assert "Labels and RL" not in file.getvalue()


def test_the_report_is_named_in_one_piece_and_as_it_is(run: Run) -> None:
    path = Path("/a[b]/" + "long/" * 30 + "report.html")
    file = io.StringIO()
    print_summary(collect_metrics(run.inputs()), path, Console(file=file, width=80))
    assert f"Report: {path}\n" in file.getvalue()


def accounts() -> list[Account]:
    limit = Limit(32, 90)
    return [
        Account("sft", 200, 200, {"too_long": 0}, "examples", limit=limit),
        Account("hf100", 179, 46, {"too_long": 133}, limit=limit),
        Account("won_select k1", 3200, 3100, {"cut": 60, "too_long": 40}, "candidates"),
    ]


def test_stages_that_drop_rows_have_their_shares_and_warnings(run: Run) -> None:
    run.accounts = accounts()
    lines = printed(run)
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
    assert "hf100 179 pairs 25.7 74.3 too_long" in [" ".join(line.split()) for line in lines]
    assert "won_select k1 3200 candidates 96.9 1.9 cut, 1.2 too_long" in [
        " ".join(line.split()) for line in lines
    ]
    assert "sft" not in [row[0] for row in rows]
    assert (
        "WARNING: hf100: 74 % of pairs are too long for sft.max_response_tokens 32; 90 keeps 95 %"
    ) in " ".join(lines)
    assert max(map(len, lines)) <= 80


def test_where_no_stage_drops_rows_the_summary_says_so(run: Run) -> None:
    assert "Every stage" not in "".join(printed(run))  # without accounts nothing is known
    run.accounts = accounts()[:1]
    assert "Every stage used all of its rows." in printed(run)
    assert "WARNING" not in "".join(printed(run))


def test_a_guard_that_holds_is_a_quiet_line_and_one_that_fails_a_warning(run: Run) -> None:
    assert "checked" not in "".join(printed(run))  # without readings nothing is known
    run.checks = [Reading("cut", "sample k1", 0.02), Reading("cut", "rlhf k1", 0.8)]
    lines = printed(run)
    said = " ".join(lines)
    assert "checked: responses that the limit of tokens cut: sample k1 2.0 % (at most 50.0 %)" in (
        said
    )
    assert "WARNING: responses that the limit of tokens cut: rlhf k1 80.0 %, needs at most" in said
    assert max(map(len, lines)) <= 80
