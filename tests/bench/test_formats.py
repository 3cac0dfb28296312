"""Rows of benchmarks become items; what does not fit one benchmark is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bench import rows
from tests.small_models import PROMPTS, RESPONSES
from westofn.bench.formats import ReadFile, ReadOptions, read_benchmark
from westofn.bench.run import read_files
from westofn.errors import DataError
from westofn.sources.columns import Columns


def read(folder: Path, given: rows.Rows, **options: Any) -> ReadFile:
    return read_benchmark(rows.write(folder / "f.jsonl", given), "f", ReadOptions(**options))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (rows.reward_bench, "rewardbench"),
        (rows.reward_bench_2, "rewardbench2"),
        (rows.rm_bench, "rm-bench"),
        (rows.judge_bench, "judgebench"),
        (rows.llm_bar, "llmbar"),
        (rows.best_of_k, "best-of-k"),
        (rows.preferences, "preferences"),
    ],
)
def test_columns_determine_the_benchmark(
    make: Callable[[], rows.Rows], name: str, tmp_path: Path
) -> None:
    got = read(tmp_path, make())
    assert got.benchmark.format == name
    assert len(got.items) == len(make())
    assert not got.dropped


def test_the_better_response_of_a_label_comes_first(tmp_path: Path) -> None:
    first, second, _ = read(tmp_path, rows.judge_bench()).items
    assert first.responses == (RESPONSES[1], RESPONSES[0])  # B>A
    assert second.responses == (RESPONSES[1], RESPONSES[2])  # A>B
    assert (first.grades, first.subset, first.name) == ((1.0, 0.0), "mmlu-pro-law", "p0")


def test_a_row_of_ties_keeps_all_its_correct_answers_first(tmp_path: Path) -> None:
    item = read(tmp_path, rows.ties_rows()).items[3]
    assert item.responses == ("a cat", "a dog", "cat", "moon", "so")
    assert item.grades == (1.0, 1.0, 1.0, 0.0, 0.0)


def test_domains_of_safety_are_one_subset(tmp_path: Path) -> None:
    subsets = [item.subset for item in read(tmp_path, rows.rm_bench()).items]
    assert subsets == ["chat", "safety", "safety"]


def test_numbered_responses_and_a_list_are_one_form(tmp_path: Path) -> None:
    listed = [{"prompt": PROMPTS[0], "responses": RESPONSES, "scores": [1, 0, 0, 0]}]
    first = read(tmp_path, rows.best_of_k()).items[0]
    second = read(tmp_path, listed).items[0]
    assert first.responses == second.responses == tuple(RESPONSES)
    assert first.grades == second.grades == (1.0, 0.0, 0.0, 0.0)


def test_ratings_that_are_no_flags_are_preferences(tmp_path: Path) -> None:
    rated = [{"prompt": PROMPTS[0], "responses": RESPONSES[:2], "scores": [4, 2]}]
    got = read(tmp_path, rated)
    assert got.benchmark.format == "preferences"
    assert got.items[0].responses == tuple(RESPONSES[:2])


def test_rows_without_subset_get_the_name_of_the_file_or_of_its_folder(tmp_path: Path) -> None:
    files = []
    for name in ("Natural", "Neighbor"):
        (tmp_path / name).mkdir()
        files.append(rows.write(tmp_path / name / "dataset.jsonl", rows.llm_bar()))
    ((_, parts),) = read_files(files, ReadOptions())
    assert [part.items[0].subset for part in parts] == ["Natural", "Neighbor"]
    ((_, (part,)),) = read_files(files[:1], ReadOptions())
    assert part.items[0].subset == "dataset"


def test_pairs_that_prepare_drops_are_counted_by_reason(tmp_path: Path) -> None:
    same = {"prompt": PROMPTS[0], "chosen": "good", "rejected": "good"}
    got = read(tmp_path, [*rows.preferences(), same])
    assert len(got.items) == 4
    assert got.dropped == {"identical_responses": 1}


def test_named_columns_read_preferences(tmp_path: Path) -> None:
    given = [{"q": PROMPTS[0], "yes": "good", "no": "bad"}]
    columns = Columns(prompt="q", chosen="yes", rejected="no")
    assert read(tmp_path, given, columns=columns).items[0].responses == ("good", "bad")
    with pytest.raises(DataError, match=r"-S prepare\.columns is for preferences, and --format is"):
        read(tmp_path, given, columns=columns, format="llmbar")


def test_two_formats_that_fit_are_refused(tmp_path: Path) -> None:
    both = [{**row, "domain": "chat"} for row in rows.reward_bench_2()]
    with pytest.raises(DataError, match="fit rewardbench2 and rm-bench; set --format"):
        read(tmp_path, both)
    assert read(tmp_path, both, format="rewardbench2").benchmark.format == "rewardbench2"


def changed(made: rows.Rows, **values: object) -> rows.Rows:
    return [{**made[0], **values}, *made[1:]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (changed(rows.reward_bench_2(), num_correct=2), "1 chosen and 3 rejected .* is 2; needs"),
        (changed(rows.ties_rows(), id="7"), "id is '7' in Ties, needs ref:NUMBER or tied:NUMBER"),
        (changed(rows.ties_rows(), id="tied:1"), "id tied:1 is also at .*:1, needs one row"),
        (
            changed(rows.reward_bench_2(), chosen=["good", "red"], num_correct=2),
            "num_correct is 2, needs 1 outside of Ties",
        ),
        (changed(rows.rm_bench(), chosen=["good", "red"]), "2 chosen and 3 rejected .* needs 3"),
        (
            [*rows.judge_bench(), {**rows.judge_bench()[0], "label": "A=B"}],
            "label is 'A=B', needs A>B or B>A",
        ),
        (changed(rows.llm_bar(), label=3), "label is '3', needs 1 or 2"),
        (changed(rows.best_of_k(), scores=[True]), "4 responses and 1 scores, needs equal"),
        (
            [*rows.best_of_k(), {**rows.best_of_k()[0], "scores": [1, 0, 0.5, 0]}],
            "scores has 0.5, needs true or false",
        ),
        ([{"prompt": "sun"}], "fit no form of preferences"),
    ],
)
def test_rows_that_are_not_what_the_columns_say_are_refused(
    given: rows.Rows, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, given)


def test_a_format_by_name_needs_its_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column scores is missing, needs one flag a response"):
        read(tmp_path, [{"prompt": "sun", "responses": RESPONSES}], format="best-of-k")
    with pytest.raises(DataError, match="1 responses, needs 2"):
        read(tmp_path, [{"prompt": "sun", "response": "good"}], format="rewardbench")


def test_unreadable_rows_are_counted_on_request(tmp_path: Path) -> None:
    made = [*rows.judge_bench(), {**rows.judge_bench()[0], "label": "A=B"}]
    got = read(tmp_path, made, bad_rows="drop")
    assert (len(got.items), got.dropped) == (3, {"unreadable": 1})
    assert "label is 'A=B'" in got.fault
    only = [{**rows.rm_bench()[0], "chosen": ["good"]}]
    with pytest.raises(DataError, match=r"no row can be read, the first: .*1 chosen"):
        read(tmp_path, only, bad_rows="drop")
