"""Every row of `make bench` runs on small tables, and ours and its peers agree there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.speed import exact_pair, memory, pairs, sampling, training
from benchmarks.speed.models import FAMILIES, SIZES, Size, case_of
from benchmarks.speed.record import Record, machine, read_record, write_page
from benchmarks.speed.rounds import Part, Timed, compare
from benchmarks.speed.tables import make_shards, make_tables
from westofn.errors import DataError


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speed") / "tables"
    make_tables(folder, 130, 8)
    make_shards(folder)
    return folder


def test_ours_and_the_peers_keep_the_same_pairs(tables: Path, tmp_path: Path) -> None:
    record = Record(1, machine())
    record.add(*pairs.measure(tables, 1), *exact_pair.measure(5, 1))
    assert [one.peer for one in record.timed[:4]] == [
        "pandas",
        "`datasets.map`",
        "pandas",
        "pandas",
    ]
    page = tmp_path / "page.md"
    marks = "".join(
        f"<!-- {name}: {end} -->\n" for name in ("speed", "memory") for end in ("start", "end")
    )
    page.write_text(marks, "utf-8")
    write_page(record, page)
    assert page.read_text("utf-8").count("| exact pair of 5 |") == 3
    assert json.loads(json.dumps(record.as_json()))["timed"][0]["ratio"] > 0


def test_the_steps_whose_memory_is_measured_do_their_work(tables: Path) -> None:
    for step in ("sample", "read", "won_select", "filter"):
        memory.STEPS[step](tables)
    assert len(list((tables / "shards").iterdir())) == 3
    gathered = (tables / "gathered.parquet").read_bytes()
    assert gathered == (tables / "candidates.parquet").read_bytes()
    kept = pl.read_parquet(tables / "preferences.parquet")
    assert 0 < kept.height <= 65  # the surer half, less what is unlikely


def test_the_peak_of_a_process_is_not_that_of_the_one_that_started_it(tables: Path) -> None:
    ballast = np.ones(2**28, np.uint8).repeat(6)  # 1.5 GiB, more than any step takes here
    steps = {one["step"]: one["mebibytes"] for one in memory.measure(tables, ["nothing"])}
    assert ballast.nbytes / 2**20 > steps["nothing"] > 50


def test_a_peer_with_another_result_ends_the_run() -> None:
    with pytest.raises(AssertionError, match="loop: peer gives another result"):
        compare("loop", lambda: 1, {"peer": lambda: 2}, 1, lambda a, b: a == b)


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_gives_the_scores_and_log_likelihoods_of_ours(family: str) -> None:
    size = Size("tiny", SIZES[0].model, prompts=2, prompt=9, response=6, candidates=5)
    timed = sampling.measure_case(case_of("tiny", family, size), 1)
    assert [one.loop for one in timed] == [
        "tiny: sample and log π", "tiny: log π of pools", "tiny: score pools",
    ]  # fmt: skip


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("family", FAMILIES)
def test_peers_train_with_the_losses_of_ours(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(training, "VALIDATION", 4)
    size = Size("tiny", SIZES[0].model, prompts=0, prompt=9, response=6, candidates=2)
    with training.lesson_of("tiny", family, size, steps=5, batch=4) as lesson:
        timed = training.measure_sft(lesson, 1) + training.measure_reward(lesson, 1)
    names = [f"tiny: {what}, 5 steps" for what in ("SFT", "reward model")]
    if family == "causal" and not training.has_trl():
        names.pop()
        assert f"tiny: {training.NO_TRL}" in capsys.readouterr().out
    assert [row.loop for row in timed] == [n + end for n in names for end in ("", ", whole call")]
    for steps, call in zip(timed[::2], timed[1::2], strict=True):
        assert 0 < steps.ours < call.ours
        assert 0 < steps.theirs < call.theirs


def test_a_part_has_the_seconds_that_the_results_tell() -> None:
    part, whole = compare(
        "loop", lambda: 2.0, {"peer": lambda: 6.0}, 3, lambda *_: True, Part("part", float)
    )
    assert (part.loop, part.ours, part.theirs, part.ratios) == ("part", 2.0, 6.0, [3.0] * 3)
    assert whole.loop == "loop"


def test_rows_that_are_measured_again_take_their_own_places(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    old = Record(
        5, machine(), [Timed(name, "p", 1.0, 2.0, [2.0]) for name in "ab"], [{"step": "s"}]
    )
    path.write_text(json.dumps(old.as_json()), "utf-8")
    record = read_record(path, 5)
    assert record == old
    record.add(Timed("a", "p", 1.0, 4.0, [4.0]), Timed("c", "p", 1.0, 1.0, [1.0]))
    assert [(row.loop, row.ratio) for row in record.timed] == [("a", 4.0), ("b", 2.0), ("c", 1.0)]
    with pytest.raises(DataError, match="of 5 rounds; measure all rows"):
        read_record(path, 6)
