"""README's block of results: what code makes of study.json, and what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.repo.deps import ROOT
from westofn.errors import DataError
from westofn.params.whole import load_params
from westofn.study.pages.readme import END, MAP_FIGURE, START, results_block, with_block
from westofn.study.pages.results import results_page
from westofn.study.records import Run, Study, read_study

WORLD = {"alignment": 0.9, "off_policyness": 1.0, "train_pairs": 100.0}


def seed(gain: float, **arms: dict[str, float]) -> Run:
    baselines: dict[str, Any] = {
        "hf50": {"accuracy": 0.7},
        "west": {"accuracy": 0.7 + gain, "label_accuracy": 0.98},
        "self_training": {"accuracy": 0.7, "label_accuracy": 0.75},
        **arms,
    }
    return {"main": {}, "arms": {"baselines": baselines}, "tables": {}}


STUDY = Study([9, 10], [seed(0.01), seed(0.03)], WORLD)


def test_readme_holds_what_code_makes_of_the_committed_study() -> None:
    study = read_study(ROOT / "study.json")
    default = load_params(ROOT / "westofn" / "presets" / "world.yaml").prepare.world.model_dump()
    figure = MAP_FIGURE if (ROOT / MAP_FIGURE).is_file() else ""
    expected = with_block(ROOT / "README.md", results_block(study, default, figure))
    assert (ROOT / "README.md").read_text("utf-8") == expected, "run `python -m westofn pages`"


def test_the_results_page_is_what_code_makes_of_the_committed_study() -> None:
    study = read_study(ROOT / "study.json")
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    assert page == results_page(study.seeds, study.runs), "run `python -m westofn pages`"


def test_the_table_has_means_and_paired_differences_of_the_arms_that_are_there() -> None:
    block = results_block(STUDY, WORLD)
    # Gains of 1 and 3 points: 2 ± 12.706 × 1
    assert "| HF50 | 70.0 ± 0.0 |" in block
    assert "| HF50 + West-of-N | 72.0 ± 12.7<br>(+2.0 ± 12.7) |" in block
    assert "prior" not in block
    withheld = {"prior": {"accuracy": 0.8}, "top_bottom16": {"accuracy": 0.75}}
    more = results_block(Study([9], [seed(0.01, **withheld)]), WORLD)
    assert "| HF50 + covariance prior | 80.0<br>(+10.0) |" in more
    assert "| HF50 + 16 best with 16 worst | 75.0<br>(+5.0) |" in more
    assert "its differences to West-of-N are held-out accuracy +9.0." in more


def test_it_says_the_labels_the_paper_and_what_the_seeds_could_have_seen() -> None:
    block = results_block(STUDY, WORLD)
    assert "75.0 ± 0.0 % of West-of-N pairs at N = 2, 98.0 ± 0.0 % at N = 64" in block
    assert "held-out accuracy: not told apart: includes both zero and the paper's +1.6." in block
    # (12.706 + 1.376) × 1 point
    assert "a true difference to HF50 smaller than 14.1 points of held-out accuracy" in block


def test_it_says_where_the_world_lies() -> None:
    default = results_block(STUDY, WORLD)
    assert "(alignment 0.9, off-policyness 1, 50 labels in HF50)" in default
    assert "HF50 and HF100 on development worlds" in default
    other = results_block(STUDY, {**WORLD, "alignment": 0.1})
    assert "not the default world (alignment 0.9" in other
    assert "development worlds" not in other
    assert "of an earlier version" in results_block(Study([9], [seed(0.01)]), WORLD)


def test_the_figure_stands_where_there_is_one() -> None:
    assert f"]({MAP_FIGURE})" in results_block(STUDY, WORLD, MAP_FIGURE)
    assert "![" not in results_block(STUDY, WORLD)


def test_one_seed_has_neither_intervals_nor_power() -> None:
    block = results_block(Study([9], [seed(0.01)], WORLD), WORLD)
    assert block.startswith("One seed (9) on the embedded world (`make study SEEDS=1`)")
    assert "±" not in block
    assert "West-of-N − HF50, held-out accuracy: unknown, one seed." in block


def test_without_a_study_the_block_says_how_to_run_one() -> None:
    assert "`make study`" in results_block(Study([], []), WORLD)


@pytest.mark.parametrize("text", ["", START, f"{END}\n{START}", f"{START}{START}{END}"])
def test_a_readme_without_one_block_is_refused(tmp_path: Path, text: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(DataError, match="needs one"):
        with_block(readme, "new")
    readme.unlink()
    with pytest.raises(DataError, match="no such file"):
        with_block(readme, "new")


def test_only_the_block_changes(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"a\n{START}\nold\n{END}\nb\n")
    assert with_block(readme, "new\nlines") == f"a\n{START}\nnew\nlines\n{END}\nb\n"
