"""The paper's findings against hand-made runs, and every claim against arms that exist."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from westofn.study.catalogue import GROUPS, MAIN_ARMS, METRICS
from westofn.study.means import Cell
from westofn.study.pages.claims import CLAIMS, Checked, Expected, check_claims
from westofn.study.pages.results import results_page
from westofn.study.records import Run, read_study


def _run(west: float, **arms: dict[str, Any]) -> Run:
    baselines = {"hf50": {"accuracy": 0.7}, "west": {"accuracy": west}}
    return {"main": {}, "arms": {"baselines": baselines, **arms}, "tables": {}}


@pytest.mark.parametrize(
    ("expected", "difference", "verdict"),
    [
        ("above", Cell(0.2, 0.1), "reproduces: excludes zero"),
        ("above", Cell(-0.2, 0.1), "reversed: excludes zero on the other side"),
        ("above", Cell(0.2, 0.3), "not told apart: includes zero"),
        ("not above", Cell(0.2, 0.1), "contradicted: lies above zero"),
        ("not above", Cell(-0.2, 0.1), "not contradicted: lies below zero"),
        ("not below", Cell(-0.2, 0.1), "contradicted: lies below zero"),
        ("not below", Cell(0.0, 0.1), "not contradicted: includes zero"),
        ("above", Cell(0.2, None), "unknown, one seed"),
    ],
)
def test_a_finding_without_a_number_is_held_against_zero(
    expected: Expected, difference: Cell, verdict: str
) -> None:
    claim = replace(CLAIMS[0], expected=expected, paper=None)
    assert Checked(claim, difference, 5).verdict == verdict


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (Cell(0.02, 0.01), "reproduces: excludes zero, includes the paper's +1.6"),
        (Cell(0.01, 0.005), "smaller than the paper's, but there: excludes zero and +1.6"),
        (Cell(0.05, 0.01), "larger than the paper's: excludes zero and +1.6"),
        (Cell(-0.01, 0.017), "smaller than the paper's: excludes +1.6, includes zero"),
        (Cell(0.01, 0.02), "not told apart: includes both zero and the paper's +1.6"),
        (
            Cell(-0.02, 0.01),
            "reversed: excludes zero on the other side, and the paper's +1.6",
        ),
        (Cell(0.2, None), "unknown, one seed"),
    ],
)
def test_a_finding_with_a_number_is_held_against_both(difference: Cell, verdict: str) -> None:
    assert (CLAIMS[0].paper, CLAIMS[0].expected) == (0.016, "above")
    assert Checked(CLAIMS[0], difference, 5).verdict == verdict


def test_that_something_does_not_help_is_held_against_its_number_too() -> None:
    (claim,) = [claim for claim in CLAIMS if claim.paper is not None and claim.paper < 0]
    for difference, verdict in (
        (Cell(-0.009, 0.02), "not contradicted: includes zero, includes the paper's −0.7"),
        (Cell(-0.03, 0.02), "not contradicted: lies below zero, excludes the paper's −0.7"),
        (Cell(0.03, 0.02), "contradicted: lies above zero"),
    ):
        assert Checked(claim, difference, 5).verdict == verdict


def test_numbers_in_a_findings_text_are_those_that_it_is_held_against() -> None:
    stated = {
        claim.text: [float(n) for n in re.findall(r"(\d+\.\d) → (\d+\.\d)", claim.text)[0]]
        for claim in CLAIMS
        if "→" in claim.text
    }
    assert len(stated) == 4
    for claim in CLAIMS:
        if claim.text in stated:
            before, after = stated[claim.text]
            assert claim.paper == pytest.approx((after - before) / 100)
        else:
            assert claim.paper is None


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
    assert "| 1 of 3 | — | unknown, one seed |" in row


def test_the_page_shows_a_claim_with_its_arms_and_verdict() -> None:
    page = results_page([0, 1], [_run(0.72), _run(0.721)])
    row = next(line for line in page.splitlines() if line.startswith("| West-of-N lifts accuracy"))
    # 2.05 ± 12.706 × 0.05; seen from (12.706 + 1.376) × 0.05
    assert "| HF50 + West-of-N − HF50 | held-out accuracy, % | +2.1 ± 0.6 | 2 of 2 | ±0.7 |" in row
    assert row.endswith("| reproduces: excludes zero, includes the paper's +1.6 |")


def test_every_claim_of_the_parts_that_ran_is_answered_by_the_committed_study() -> None:
    runs = read_study(Path("study.json")).runs
    ran = {part for run in runs for part in run["arms"]} | {"main" for run in runs if run["main"]}
    expected = [claim for claim in CLAIMS if {claim.first[0], claim.second[0]} <= ran]
    assert len(expected) >= 5
    assert [found.claim for found in check_claims(runs)] == expected


def test_every_claim_speaks_of_arms_and_metrics_that_the_study_has() -> None:
    assert CLAIMS
    known = {(group.part, arm) for group in GROUPS for arm in group.arms}
    known |= {("main", arm) for arm in MAIN_ARMS}
    for claim in CLAIMS:
        assert {claim.first, claim.second} <= known, claim.text
        assert claim.metric in METRICS, claim.text
