"""The committed numbers beside those of this run."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import pytest

from tests.study.planted import planted
from westofn.study.committed import comparison_lines, seed_noise

ARMS = {
    "hf50": {"accuracy": 0.6, "best_of_n_gold": 4.0, "accuracy_low": 0.5},
    "k1": {"accuracy": 0.65},
    "rows": {"filter": {"rows_in": 3}},
}


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(ARMS))
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "-m", "x"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return path


def changed(**values: float) -> dict[str, dict[str, float]]:
    return {**ARMS, "hf50": {**ARMS["hf50"], **values}}


def test_noise_is_what_two_seeds_differ_by() -> None:
    # Accuracies 0.5, 0.6 and 0.7: s = 0.1, t = 4.303 with two degrees of freedom.
    noise = seed_noise(planted().runs, "hf50", "accuracy")
    assert noise == pytest.approx(4.3027 * 0.1 * math.sqrt(2), rel=1e-4)
    assert seed_noise(planted((3,)).runs, "hf50", "accuracy") is None
    assert seed_noise(planted().runs, "base", "accuracy") is None


def test_equal_numbers_are_told_in_a_line(committed: Path) -> None:
    (line,) = comparison_lines(committed, ARMS, planted().runs)
    assert line == "The 3 headline numbers equal the committed ones."


def test_only_differences_beyond_the_noise_are_listed(committed: Path) -> None:
    (line,) = comparison_lines(committed, changed(accuracy=0.61), planted().runs)
    assert line.startswith("1 of 3 headline numbers differ from the committed ones, none by more")
    first, second = comparison_lines(
        committed, changed(accuracy=0.61, best_of_n_gold=12.0), planted().runs
    )
    assert first.startswith("2 of 3")
    assert ", 1 by more" in first
    assert second == "  HF50, best-of-n gold: 12.00, committed 4.00; two seeds differ by up to 6.08"


def test_without_seeds_of_the_same_world_no_noise_is_stated(committed: Path) -> None:
    (line,) = comparison_lines(committed, changed(accuracy=0.9), [])
    assert line == (
        "1 of 3 headline numbers differ from the committed ones; `dvc metrics diff` shows them."
    )


def test_without_a_commit_nothing_is_said(tmp_path: Path) -> None:
    assert not list(comparison_lines(tmp_path / "metrics.json", ARMS, []))
