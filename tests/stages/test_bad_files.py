"""A damaged input file: one line that names file, row or key, what was found and how to mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
import pytest

from tests.stages.pipeline import Tiny

Change = Callable[[pl.DataFrame], pl.DataFrame]

PREFERENCES = "data/prepared/preferences.parquet"
PROMPTS = "data/prepared/prompts.parquet"
SFT = "data/prepared/sft.parquet"
CANDIDATES = "data/loop/k1/candidates.parquet"
PAIRS = "data/loop/k1/pairs/pairs.parquet"
WORLD = "data/world/world.parquet"


@dataclass(frozen=True)
class Case:
    """A stage, the input that is broken, how, and what the line must say beside the path."""

    stage: str
    path: str
    damage: Callable[[Tiny, str], None]
    needed: tuple[str, ...]


def _missing(tiny: Tiny, path: str) -> None:
    (tiny / path).unlink()


def _folder(tiny: Tiny, path: str) -> None:
    (tiny / path).unlink()
    (tiny / path).mkdir()


def _holds(content: bytes) -> Callable[[Tiny, str], None]:
    return lambda tiny, path: bool((tiny / path).write_bytes(content)) or None


def _cut(tiny: Tiny, path: str) -> None:
    content = (tiny / path).read_bytes()
    (tiny / path).write_bytes(content[: len(content) // 2])


def _rows(change: Change) -> Callable[[Tiny, str], None]:
    return lambda tiny, path: tiny.edit(path, change)


def _first(**values: object) -> Callable[[Tiny, str], None]:
    """Give the first row these values."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        row = frame.head(1).with_columns(
            pl.lit(value, dtype=frame.schema[name]).alias(name) for name, value in values.items()
        )
        return pl.concat([row, frame.slice(1)])

    return _rows(change)


def _one_prompt_in_two_splits(frame: pl.DataFrame) -> pl.DataFrame:
    train = frame.filter(pl.col("split") == "train").head(1)
    leak = train.with_columns(pair_id=pl.lit("leak"), split=pl.lit("test"))
    return pl.concat([frame, leak])


CASES = {
    "missing": Case("sft", SFT, _missing, ("no such file", "rerun prepare")),
    "a folder": Case("won_select@k1", CANDIDATES, _folder, ("is a folder", "rerun sample")),
    "empty": Case("base_rm", PREFERENCES, _holds(b""), ("0 bytes", "rerun prepare")),
    "text": Case(
        "filter@k1", CANDIDATES, _holds(b"prompt_id,response\n"), ("not a Parquet file", "sample")
    ),
    "truncated": Case("won_select@k1", CANDIDATES, _cut, ("truncated after", "rerun sample")),
    "truncated pool": Case(
        "eval_reference@hf50", "data/eval_pool/candidates.parquet", _cut, ("truncated after",)
    ),
    "wrong column": Case(
        "filter@k1",
        PAIRS,
        _rows(lambda frame: frame.rename({"p_chosen": "p_choosen"})),
        ("column p_chosen is missing (did you mean p_choosen?)", "rerun won_select"),
    ),
    "wrong type": Case(
        "won_select@k1",
        CANDIDATES,
        _rows(lambda frame: frame.cast({"candidate_index": pl.Int64})),
        ("column candidate_index is Int64, needs Int32", "rerun sample"),
    ),
    "null": Case(
        "sft", SFT, _first(response=None), ("column response is null on 1 row", "sft_id=")
    ),
    "duplicate ids": Case(
        "base_rm",
        PREFERENCES,
        _rows(lambda frame: pl.concat([frame, frame.tail(1)])),
        ("1 row too many for key (pair_id)", "needs unique keys", "rerun prepare"),
    ),
    "identical": Case(
        "reference_rm@hf50",
        PREFERENCES,
        _first(chosen="the same", rejected="the same"),
        ("1 row against 'chosen ≠ rejected'", "pair_id=", "chosen='the same'", "rerun prepare"),
    ),
    "blank": Case(
        "reference_rm@hf100",
        PREFERENCES,
        _first(rejected=" \n"),
        ("1 row against 'rejected is not blank'", "pair_id="),
    ),
    "two splits": Case(
        "student_rm@k1",
        PREFERENCES,
        _rows(_one_prompt_in_two_splits),
        ("2 rows against 'all rows of a prompt_id lie in one split'", "pair_id=", "rerun prepare"),
    ),
    "unknown split": Case(
        "autorater", PREFERENCES, _first(split="dev"), ("split is one of train", "split='dev'")
    ),
    "probability": Case(
        "filter@k1", PAIRS, _first(p_chosen=1.25), ("0 ≤ p_chosen ≤ 1", "p_chosen=1.25")
    ),
    "a candidate short": Case(
        "won_select@k1",
        CANDIDATES,
        _rows(lambda frame: frame.slice(1)),
        ("prompt_id=", "rerun sample"),
    ),
    "no such candidate": Case(
        "filter@k1",
        PAIRS,
        _first(chosen_index=999),
        ("1 of 30 pairs point to candidates", "rerun sample and won_select"),
    ),
    "no prompts to sample": Case(
        "sample@k1",
        PROMPTS,
        _rows(lambda frame: frame.filter(pl.col("split") == "test")),
        ("no prompt has split unlabeled, needs at least 1", "rerun prepare"),
    ),
    "nothing to validate on": Case(
        "sft",
        SFT,
        _rows(lambda frame: frame.filter(pl.col("split") == "train")),
        ("no example has split validation", "needs at least 1", "rerun prepare"),
    ),
    "no validation pairs": Case(
        "base_rm",
        PREFERENCES,
        _rows(lambda frame: frame.filter(pl.col("split") != "validation")),
        ("there are no validation pairs", "preferences.parquet, needs at least 1", "rerun"),
    ),
    "no training pairs": Case(
        "base_rm",
        PREFERENCES,
        _rows(lambda frame: frame.filter(pl.col("split") != "train")),
        ("there are no human training pairs", "preferences.parquet, needs at least 1", "rerun"),
    ),
    "broken facts": Case("eval_reference@base", WORLD, _first(facts="{}"), ("facts '{}'", "rerun")),
    "facts of other prompts": Case(
        "rlhf@k1",
        WORLD,
        _rows(lambda frame: frame.with_columns("x" + pl.col("prompt_id"))),
        ("world", "rerun prepare"),
    ),
    "json cut": Case("report", "data/prepared/counts.json", _cut, ("not JSON", "rerun prepare")),
    "json missing": Case(
        "report", "data/eval/k1/curves.json", _missing, ("no such file", "rerun eval")
    ),
    "json list": Case(
        "report", "data/loop/k1/rl/metrics.json", _holds(b"[]"), ("needs a JSON object", "rlhf")
    ),
    "curve cut": Case("report", "data/loop/k1/rl/curve.json", _cut, ("not JSON", "rerun rlhf")),
    "card": Case("report", "data/loop/k0/rm/card.json", _holds(b"{}"), ("damaged", "rerun")),
}
# Found after the file was read: the line names the table.
NAMED_BY_TABLE = {
    "no such candidate",
    "no validation pairs",
    "no training pairs",
    "broken facts",
    "facts of other prompts",
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_file_is_one_line_and_leaves_the_outputs(name: str, tiny: Tiny) -> None:
    case = CASES[name]
    case.damage(tiny, case.path)
    where = () if name in NAMED_BY_TABLE else (case.path,)
    tiny.fail(case.stage, *where, *case.needed)


def test_fewer_candidates_than_asked_for_are_refused(tiny: Tiny) -> None:
    tiny.change({"sample": {"n_candidates": 9}})
    tiny.fail("won_select@k1", "has 8 candidates, needs 9", "sample.n_candidates", "rerun sample")


def test_a_filter_that_leaves_nothing_says_what_dropped_it(tiny: Tiny) -> None:
    def identical(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(response=pl.lit("the same"))

    tiny.edit(CANDIDATES, identical)
    tiny.fail("filter@k1", "all 30 pairs are dropped: 30 as identical; raise sample.temp")


@pytest.mark.parametrize(
    ("lines", "needed"),
    [
        (None, ("hh.jsonl", "no such file", "mend prepare.path")),
        ("", ("hh.jsonl", "no rows", "needs at least 1")),
        ('{"chosen": "a"', ("hh.jsonl:1", "not JSON", "mend or remove the line")),
        ('{"prompt": "x", "chosen": "a", "rejcted": "b"}', ("hh.jsonl:1", "did you mean rejcted")),
        ('{"prompt": "x", "chosen": 1, "rejected": "b"}', ("hh.jsonl:1", "chosen is a int")),
        (
            '{"prompt": "x", "chosen": "a", "rejected": "b"}\n'
            '{"prompt": "y", "chosen": "a", "chosen": "c", "rejected": "b"}',
            ("hh.jsonl:2", "key 'chosen' is there twice"),
        ),
        ('{"prompt": "x", "chosen": "a", "rejected": "a"}', ("dropped_identical_responses 1",)),
    ],
    ids=["missing", "empty", "truncated", "wrong column", "wrong type", "twice", "identical"],
)
def test_a_bad_source_is_refused_by_prepare(
    lines: str | None, needed: tuple[str, ...], tiny: Tiny
) -> None:
    tiny.change({"prepare": {"source": "hh", "path": "hh.jsonl"}})
    if lines is not None:
        (tiny / "hh.jsonl").write_text(lines)
    tiny.fail("prepare", *needed)


def test_a_number_that_is_not_finite_in_json_is_refused(tiny: Tiny) -> None:
    path = tiny / "data/eval/k1/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"accuracy": float("nan")}))
    tiny.fail("report", "data/eval/k1/metrics.json", "NaN is not a finite number", "rerun eval")
