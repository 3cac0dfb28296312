"""The paper's findings against hand-made runs, and every claim against arms that exist."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from westofn.report.study_catalogue import GROUPS
from westofn.report.study_results import MAIN_ARMS, METRICS, Cell, Run, read_study
from westofn.study.claims import CLAIMS, Checked, Expected, check_claims
from westofn.study.pages import results_page


def _run(k1: float, **arms: dict[str, Any]) -> Run:
    return {"main": {"hf50": {"accuracy": 0.7}, "k1": {"accuracy": k1}}, "arms": arms, "tables": {}}


@pytest.mark.parametrize(
    ("expected", "difference", "verdict"),
    [
        ("above", Cell(0.2, 0.1), "reproduces"),
        ("above", Cell(-0.2, 0.1), "reversed"),
        ("above", Cell(0.2, 0.3), "not told apart"),
        ("not above", Cell(0.2, 0.1), "contradicted"),
        ("not above", Cell(-0.2, 0.1), "not contradicted"),
        ("not below", Cell(-0.2, 0.1), "contradicted"),
        ("not below", Cell(0.0, 0.1), "not contradicted"),
        ("above", Cell(0.2, None), "unknown, one seed"),
    ],
)
def test_a_finding_shows_where_the_interval_excludes_zero_on_its_side(
    expected: Expected, difference: Cell, verdict: str
) -> None:
    assert Checked(replace(CLAIMS[0], expected=expected), difference, 5).verdict == verdict


def test_differences_are_paired_by_seed_and_over_the_seeds_that_have_both_arms() -> None:
    sizes = {"n64": {"label_accuracy": 0.99}, "n2": {"label_accuracy": 0.75}}
    runs = [_run(0.72), _run(0.72, selection=sizes), _run(0.75)]
    accuracy, labels = check_claims(runs)
    assert accuracy.difference.mean == pytest.approx((0.02 + 0.02 + 0.05) / 3)
    assert (accuracy.seeds, labels.seeds) == (3, 1)
    assert labels.difference.mean == pytest.approx(0.24)
    assert check_claims([{"main": {}, "arms": {}, "tables": {}}]) == []


def test_a_claim_of_some_seeds_says_of_how_many() -> None:
    arms = {"filter_c50": {"accuracy": 0.62}, "n64": {"accuracy": 0.61}}
    page = results_page([0, 1, 2], [_run(0.7), _run(0.7, selection=arms), _run(0.7)])
    row = next(line for line in page.splitlines() if "confidence filter helps" in line)
    assert "| confidence 0.5 − none |" in row
    assert "unknown, one seed (1 of 3 seeds) |" in row


def test_the_page_shows_a_claim_with_its_arms_and_verdict() -> None:
    page = results_page([0, 1], [_run(0.72), _run(0.721)])
    row = next(line for line in page.splitlines() if line.startswith("| West-of-N lifts accuracy"))
    assert "| West-of-N, round 1 − HF50 | held-out accuracy, % | +2.1 ± 0.6 | reproduces |" in row


def test_every_claim_is_answered_by_the_study_as_committed() -> None:
    runs = read_study(Path("study.json")).runs
    assert [found.claim for found in check_claims(runs)] == list(CLAIMS)


def test_every_claim_speaks_of_arms_and_metrics_that_the_study_has() -> None:
    assert CLAIMS
    known = {(group.part, arm) for group in GROUPS for arm in group.arms}
    known |= {("main", arm) for arm in MAIN_ARMS}
    for claim in CLAIMS:
        assert {claim.first, claim.second} <= known, claim.text
        assert claim.metric in METRICS, claim.text
