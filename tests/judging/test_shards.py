"""Verdicts are committed as they come: nothing is asked twice, nothing is mixed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from westofn.artifacts.verdicts import VERDICTS
from westofn.errors import DataError, JudgeError
from westofn.judging.protocol import FloatArray, judge_pairs
from westofn.judging.shards import SavedJudge, judge_in_shards

COLUMNS = ("prompt_id", "prompt", "first", "second")
PAIRS = pl.DataFrame(
    [(f"p{row}", "x", "ab" * row, "c" * (9 - row)) for row in (3, 1, 4, 0, 2)],
    schema=COLUMNS,
    orient="row",
)


@dataclass
class Counting:
    """Prefers the longer response; fails when a prompt is asked about."""

    name: str = "counting"
    fails_at: str = ""
    asked: list[str] = field(default_factory=list)

    def p_first(
        self,
        prompt_ids: Sequence[str],
        prompts: Sequence[str],
        first: Sequence[str],
        second: Sequence[str],
    ) -> FloatArray:
        if self.fails_at in prompt_ids:
            raise JudgeError("the server is gone")
        self.asked += prompt_ids
        longer = np.array([len(a) - len(b) for a, b in zip(first, second, strict=True)])
        p: FloatArray = 1 / (1 + np.exp(-longer / 10))
        return np.where(np.array(prompt_ids) == "p2", np.nan, p)


def test_the_table_holds_what_the_judge_said(tmp_path: Path) -> None:
    frame = judge_in_shards(Counting(), PAIRS, tmp_path, size=2)
    assert frame["prompt_id"].to_list() == ["p0", "p1", "p2", "p3", "p4"]
    assert set(frame["judge"]) == {"counting"}
    assert frame["unanswered"].to_list() == [0, 0, 2, 0, 0]
    rows = PAIRS.sort("prompt_id")
    direct = judge_pairs(Counting(), *(rows[name].to_list() for name in COLUMNS))
    assert np.array_equal(frame["p_forward"], direct.p_forward)
    assert np.array_equal(frame["p_backward"], direct.p_backward)


def test_after_a_failure_only_what_is_missing_is_asked(tmp_path: Path) -> None:
    first = Counting(fails_at="p3")
    with pytest.raises(JudgeError, match="gone"):
        judge_in_shards(first, PAIRS, tmp_path, size=2)
    assert first.asked == ["p0", "p1", "p0", "p1"]
    again = Counting()
    frame = judge_in_shards(again, PAIRS, tmp_path, size=2)
    assert again.asked == ["p2", "p3", "p2", "p3", "p4", "p4"]
    assert frame.equals(judge_in_shards(Counting(), PAIRS, tmp_path / "whole", size=2))


def test_the_order_of_the_rows_and_other_columns_do_not_matter(tmp_path: Path) -> None:
    frame = judge_in_shards(Counting(), PAIRS, tmp_path / "a")
    shuffled = PAIRS.reverse().with_columns(split=pl.lit("train"))
    assert frame.equals(judge_in_shards(Counting(), shuffled, tmp_path / "b"))


def test_verdicts_of_other_pairs_or_judges_are_not_taken(tmp_path: Path) -> None:
    judge_in_shards(Counting(), PAIRS, tmp_path)
    with pytest.raises(DataError, match="of another judge than other; remove that folder"):
        judge_in_shards(Counting(name="other"), PAIRS, tmp_path)
    with pytest.raises(DataError, match="verdicts of other pairs"):
        judge_in_shards(Counting(), PAIRS.with_columns(second=pl.lit("d")), tmp_path)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (PAIRS.drop("second"), "have no column second, needs prompt_id, prompt, first, second"),
        (PAIRS.head(0), "there are no pairs"),
        (PAIRS.with_columns(first=pl.lit(None, pl.String)), "a text is null"),
        (pl.concat([PAIRS, PAIRS.head(1)]), "2 rows are pairs that repeat, first of prompt p3"),
    ],
)
def test_bad_pairs_are_refused_before_anything_is_asked(
    pairs: pl.DataFrame, message: str, tmp_path: Path
) -> None:
    judge = Counting()
    with pytest.raises(DataError, match=message):
        judge_in_shards(judge, pairs, tmp_path)
    assert judge.asked == []


def test_the_table_can_be_written_and_read(tmp_path: Path) -> None:
    frame = judge_in_shards(Counting(), PAIRS, tmp_path / "shards")
    VERDICTS.write(frame, tmp_path / "verdicts.parquet")
    assert VERDICTS.read(tmp_path / "verdicts.parquet").equals(frame)


def test_a_saved_judge_is_loaded_once_and_only_to_be_asked(tmp_path: Path) -> None:
    loaded: list[Counting] = []

    def load() -> Counting:
        loaded.append(Counting())
        return loaded[-1]

    frame = judge_in_shards(SavedJudge("counting", load), PAIRS, tmp_path / "saved", size=2)
    assert frame.equals(judge_in_shards(Counting(), PAIRS, tmp_path / "at hand", size=2))
    assert len(loaded) == 1
    assert frame.equals(judge_in_shards(SavedJudge("counting", load), PAIRS, tmp_path / "saved", 2))
    assert len(loaded) == 1
