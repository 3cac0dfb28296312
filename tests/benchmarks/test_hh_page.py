"""docs/human-data.md from hand-made runs: units, signs, verdicts, and what is not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.hh.page import ARMS, COMPARISONS, human_data_page, reading
from benchmarks.hh.records import MODELS, Run
from benchmarks.hh.settings import SETTINGS, file_settings
from westofn.report.study_results import Cell

COUNTS = {
    "rows_in": 1234,
    "rows_out": 1000,
    "pairs_train": 600,
    "pairs_hf50": 300,
    "pairs_validation": 100,
    "pairs_test": 200,
    "pairs_autorater": 100,
}


def run(seed: int, task: str = "helpful", **accuracies: float) -> Run:
    arms = {
        arm: {"accuracy": value, "accuracy_low": value - 0.03, "accuracy_high": value + 0.03}
        for arm, value in accuracies.items()
    }
    return Run(task, seed, COUNTS, arms)


def line(page: str, start: str) -> list[str]:
    """The cells of the first row that begins so."""
    found = next(row for row in page.splitlines() if row.startswith(f"| {start} |"))
    return [text.strip() for text in found.strip("|").split("|")][1:]


def findings(page: str) -> list[str]:
    return [row for row in page.splitlines() if row.startswith("- ")]


def test_the_committed_page_is_of_the_committed_runs_and_of_todays_settings() -> None:
    record = json.loads(Path("benchmarks/hh.json").read_text("utf-8"))
    assert record["settings"] == {**file_settings(), **SETTINGS}
    runs = [Run(**found) for found in record["runs"]]
    assert Path("docs/human-data.md").read_text("utf-8") == human_data_page(runs)


def test_means_and_paired_differences_stand_in_one_row() -> None:
    page = human_data_page([run(0, hf50=0.60, hf100=0.61), run(1, hf50=0.58, hf100=0.61)])
    # HF50 59 ± 12.706 × 1, HF100 61; differences 1 and 3: +2 ± 12.7.
    assert line(page, "HF50")[:2] == ["59.0 ± 12.7", "—"]
    assert line(page, "HF100")[:2] == ["61.0 ± 0.0", "+2.0 ± 12.7"]
    assert line(page, "HF100")[2:] == ["—"] * 3


def test_an_effect_is_one_only_where_its_interval_excludes_zero() -> None:
    runs = [run(0, hf50=0.60, hf100=0.62, k1=0.59), run(1, hf50=0.60, hf100=0.621, k1=0.62)]
    said = findings(human_data_page(runs))
    assert said[0] == (
        "- Twice the human pairs: HF100 is above HF50, +2.1 ± 0.6 points of held-out accuracy."
    )
    assert said[1].startswith("- West-of-N: HF50 + West-of-N is not told apart from HF50, +0.5 ± ")


def test_a_loss_is_called_one() -> None:
    said = reading(COMPARISONS[1], Cell(-0.02, 0.01))
    assert said == (
        "West-of-N: HF50 + West-of-N is below HF50, −2.0 ± 1.0 points of held-out accuracy."
    )


def test_one_seed_has_neither_intervals_nor_verdicts() -> None:
    page = human_data_page([run(100, hf50=0.60, hf100=0.62)])
    assert "`python -m benchmarks.hh --data PATH --seeds 1 --first-seed 100 --task helpful`" in page
    assert "; one seed has none" in page
    assert "seed 100, **with which settings were chosen" in page
    assert "±" not in page
    assert findings(page) == [
        "- Twice the human pairs: HF100 less HF50 is +2.0 points of held-out accuracy in one seed."
    ]


def test_each_seed_has_its_interval_over_prompts() -> None:
    page = human_data_page([run(0, hf50=0.60), run(1, hf50=0.58)])
    rows = page[page.index("Held-out accuracy of each seed") :]
    assert line(rows, "HF50") == ["60.0 (57.0–63.0)", "58.0 (55.0–61.0)"]
    assert line(rows, "HF100") == ["—", "—"]


def test_tasks_have_their_own_tables_and_counts() -> None:
    page = human_data_page([run(0, hf50=0.6), run(0, "harmless", hf50=0.7)])
    assert page.index("## Helpful") < page.index("## Harmless")
    assert line(page[page.index("## Harmless") :], "HF50")[0] == "70.0"
    assert line(page, "harmless") == ["harmless-base", "1,000", "600", "300", "100", "200", "100"]
    assert "--task" not in page
    assert "**with which" not in page
    assert "this run read 1,234 rows" in " ".join(page.split())


def test_an_arm_that_a_seed_lacks_has_no_row() -> None:
    page = human_data_page([run(0, hf50=0.6, longest=0.5), run(1, hf50=0.6)])
    assert "| the longer response |" not in page[: page.index("of each seed")]


def test_every_comparison_is_of_arms_that_are_shown() -> None:
    named: Mapping[str, str] = ARMS
    assert COMPARISONS
    assert {arm for c in COMPARISONS for arm in (c.arm, c.other)} | set(MODELS) <= set(named)
