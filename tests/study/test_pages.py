"""docs/results.md from hand-made runs: signs, digits, readings, and what is not there."""

from __future__ import annotations

from typing import Any

from westofn.study.means import Cell, Row
from westofn.study.pages.power import power_line
from westofn.study.pages.results import readings, results_page
from westofn.study.records import Run

ONE: dict[str, Any] = {"accuracy": 0.70, "best_of_n_gold": 5.0, "label_accuracy": 0.9}
OTHER: dict[str, Any] = {"accuracy": 0.69, "best_of_n_gold": 5.256}


def run(west: float, **tables: list[dict[str, Any]]) -> Run:
    arms = {"hf50": dict(OTHER), "west": {**ONE, "accuracy": west}}
    return {"main": {"hf50": dict(OTHER)}, "arms": {"baselines": arms}, "tables": tables}


def line(page: str, start: str) -> list[str]:
    """The cells of the last row that begins so."""
    found = [row for row in page.splitlines() if row.startswith(f"| {start} |")]
    return [text.strip() for text in found[-1].strip("|").split("|")][1:]


def test_means_have_digits_of_their_unit_and_differences_a_sign() -> None:
    page = results_page([0, 1], [run(0.70), run(0.72)])
    # Means 71 ± 12.706 × 1; less 69: 1 and 3, so +2 ± 12.7. Gold: 5 − 5.256 in both seeds.
    assert line(page, "HF50 + West-of-N") == [
        "90.0 ± 0.0", "71.0 ± 12.7", "5.00 ± 0.00", "+2.0 ± 12.7", "-0.26 ± 0.00",
    ]  # fmt: skip
    assert line(page, "HF50") == ["—", "69.0 ± 0.0", "5.26 ± 0.00", "—", "—"]


def test_what_excludes_zero_is_read_out() -> None:
    page = results_page([0, 1], [run(0.70), run(0.72)])
    assert "- held-out accuracy: every interval includes zero." in page
    assert "- best-of-64 gold: below: HF50 + West-of-N." in page


def test_readings_name_both_sides() -> None:
    found = [
        Row("a", "A", {}, {"accuracy": Cell(0.2, 0.1)}),
        Row("b", "B", {}, {"accuracy": Cell(-0.2, 0.1)}),
        Row("c", "C", {}, {"accuracy": Cell(0.2, 0.3)}),
        Row("d", "D", {}, {}),
    ]
    assert readings(found, "HF50") == ["held-out accuracy: above HF50: A; below: B."]


def test_the_selector_that_teaches_most_is_named_against_the_first() -> None:
    def seed(shift: float) -> Run:
        gold = {"n64": 4.0 + shift, "quartiles": 4.2 + shift, "best_median": 3.0}
        arms = {name: {"accuracy": 0.6, "best_of_n_gold": value} for name, value in gold.items()}
        found = run(0.7)
        found["arms"]["selection"] = arms
        return found

    page = results_page([0, 1], [seed(0.0), seed(0.5)])
    assert (
        "- highest best-of-64 gold: upper and lower quartile, +0.20 ± 0.00 over "
        "west (best and worst) (excludes zero)." in page
    )
    # Equal means: the first of them, which is what the others are held against.
    assert "- highest held-out accuracy: west (best and worst)." in page


def test_one_seed_has_neither_intervals_nor_readings() -> None:
    page = results_page([0], [run(0.72)])
    assert line(page, "HF50 + West-of-N") == ["90.0", "72.0", "5.00", "+3.0", "-0.26"]
    assert "seed 0" in page
    assert "one seed has none" in page
    assert "±" not in page
    assert "told apart" not in page


def test_the_page_says_how_it_was_made() -> None:
    assert "`make study`" in results_page(range(9, 18), [run(0.7)] * 9)
    page = results_page(range(9, 12), [run(0.7)] * 3)
    assert "`make study SEEDS=3`" in page
    assert "seeds 9 to 11" in page
    page = results_page(range(5), [run(0.7)] * 5)
    assert "`python -m westofn study --first-seed 0 --seeds 5`" in page


def test_a_power_line_stands_under_a_table_of_differences() -> None:
    # West-of-N less HF50: 1 and 3 points, so s / sqrt(n) is 1; gold is −0.256 in both seeds.
    page = results_page([0, 1], [run(0.70), run(0.72)])
    # t of one degree of freedom: 12.706 and tan(0.3 π) = 1.376
    assert (
        "- With two seeds, a true difference to HF50 smaller than 14.1 points of held-out "
        "accuracy / 0.00 of best-of-64 gold would be detected with less than 80 % probability."
        in page
    )
    assert "detected" not in results_page([0], [run(0.70)])


def test_a_power_line_of_many_rows_is_of_their_middle_spread() -> None:
    cells = [Cell(0.0, 0.1, detectable) for detectable in (0.01, 0.02, 0.5)]
    found = [Row("a", "A", {}, {"accuracy": cell}) for cell in cells]
    assert power_line(found, "HF50", 9) == (
        "With nine seeds, a true difference to HF50 smaller than 2.0 points of held-out accuracy "
        "would be detected with less than 80 % probability (median over the rows)."
    )
    assert power_line([], "HF50", 9) == ""


def test_every_table_says_how_many_seeds_it_has() -> None:
    short = run(0.9, theorem=[{"n": 2, "correct": 0.7}])
    page = results_page([0, 1], [run(0.72), short])
    tables = [part for part in page.split("\n## ")[1:] if "paper's findings" not in part]
    assert len(tables) == 4
    for text in tables:
        assert ("1 of 2 seeds." if text.startswith("The theorem") else "2 seeds.") in text


def test_tables_of_parts_are_shown_in_their_units() -> None:
    theorem = [{"n": 64, "correct": 0.987, "p_true": 0.9, "p_model": 0.95, "bound": 0.4}]
    judge = [{"set": "policy pairs", "judge": "simulated", "position_flip_rate": 0.125}]
    page = results_page([0], [run(0.7, theorem=theorem, judge=judge)])
    assert line(page, "64") == ["98.7", "90.0", "95.0", "40.0", "—"]
    assert line(page, "policy pairs / simulated") == ["12.5", "—", "—"]


def test_labels_of_round_one_are_shown_by_pool_size() -> None:
    labels = {"label_accuracy_n2": 0.75, "label_accuracy_n64": 0.98, "label_accuracy_random": 0.74}
    runs = [run(0.7), run(0.7)]
    for each in runs:
        each["main"]["k1"] = {"accuracy": 0.7, **labels}
    page = results_page([0, 1], runs)
    assert "| N = 2 | N = 64 | random pairs |" in page
    assert "| 75.0 ± 0.0 | 98.0 ± 0.0 | 74.0 ± 0.0 |" in page
    assert line(page, "West-of-N, round 1 − HF50")[0] == "+1.0 ± 0.0"


def test_a_seed_without_a_part_is_counted_out() -> None:
    short = run(0.9)
    short["arms"] = {}
    page = results_page([0, 1], [run(0.72), short])
    assert "1 of 2 seeds." in page
    assert line(page, "HF50 + West-of-N")[1] == "72.0"


def test_what_was_not_measured_has_no_table() -> None:
    empty: Run = {"main": {}, "arms": {}, "tables": {}}
    assert "|" not in results_page([0], [empty])
    assert "##" not in results_page([0], [empty])
    lacking = run(0.7)
    del lacking["arms"]["baselines"]["hf50"], lacking["main"]["hf50"]
    page = results_page([0], [lacking])
    assert line(page, "HF50 + West-of-N") == ["90.0", "70.0", "5.00", "—", "—"]
    assert "The main pipeline" not in page


def test_an_arm_of_some_seeds_has_no_row() -> None:
    lacking = run(0.7)
    del lacking["arms"]["baselines"]["west"]
    page = results_page([0, 1], [run(0.7), lacking])
    assert "| HF50 + West-of-N |" not in page
    assert line(page, "HF50")
