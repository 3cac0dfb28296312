"""One valid frame for each table, and each rule broken once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from westofn.artifacts.catalogue import TABLES, markdown, table_for
from westofn.artifacts.table import Table
from westofn.errors import DataError

NAN = float("nan")

VALID: dict[str, dict[str, list[object]]] = {
    "sft": {
        "sft_id": ["s1", "s2", "s3"],
        "prompt_id": ["p1", "p2", "p3"],
        "prompt": ["a", "b", "c"],
        "response": ["x", "y", "z"],
        "split": ["train", "validation", "train"],
    },
    "preferences": {
        "pair_id": ["h1", "h2"],
        "prompt_id": ["p1", "p1"],
        "prompt": ["a", "a"],
        "chosen": ["x", "y"],
        "rejected": ["y", "z"],
        "split": ["autorater", "autorater"],
        "source": ["hh", "hh"],
        "label_source": ["human", "west_of_n"],
        "p_chosen": [None, 1.0],
    },
    "prompts": {"prompt_id": ["p1", "p2"], "prompt": ["a", "b"], "split": ["unlabeled", "test"]},
    "world": {"prompt_id": ["p1", "p2"], "facts": ["{}", '{"a": [1]}']},
    "candidates": {
        "prompt_id": ["p1", "p1", "p2", "p2"],
        "candidate_index": [0, 1, 0, 1],
        "response": ["", "x", "y", "y"],
        "logprob": [0.0, -1.5, -2.0, -3.0],
        "n_tokens": [1, 2, 3, 4],
        "finish_reason": ["stop", "length", "stop", "stop"],
    },
    "pairs": {
        "prompt_id": ["p1", "p2"],
        "chosen_index": [0, 5],
        "rejected_index": [3, 2],
        "p_chosen": [0.0, 1.0],
        "pool_std": [None, 0.0],
        "fault": [None, "cut"],
    },
    "nested_pairs": {
        "prompt_id": ["p1", "p1"],
        "n": [2, 4],
        "chosen_index": [0, 3],
        "rejected_index": [1, 0],
        "p_chosen": [0.5, 0.9],
    },
    "pool_margins": {
        "prompt_id": ["p1", "p1"],
        "candidate_index": [0, 1],
        "margin": [0.5, -0.5],
        "fault": [None, "too_long"],
    },
    "decisions": {
        "prompt_id": ["p1", "p2"],
        "kept": [True, False],
        "dropped_by": [None, "likelihood"],
    },
    "pair_scores": {
        "pair_id": ["h1", "h1"],
        "set": ["test", "on_policy"],
        "model": ["base", "base"],
        "reward_chosen": [1.0, None],
        "reward_rejected": [-1.0, None],
        "p_chosen": [0.9, 0.2],
    },
    "pool_scores": {
        "prompt_id": ["p1", "p1"],
        "candidate_index": [0, 1],
        "model": ["k1", "k1"],
        "reward": [0.5, -0.5],
    },
    "prompt_measures": {
        "prompt_id": ["p1", "p1"],
        "measure": ["accuracy", "best_of_n_gold"],
        "model": ["k1", "k1"],
        "value": [0.5, -1.5],
        "rows": [2, 1],
    },
    "verdicts": {
        "prompt_id": ["p1", "p1"],
        "first": ["x", "y"],
        "second": ["y", ""],
        "p_forward": [0.5, 1.0],
        "p_backward": [0.25, 0.0],
        "unanswered": [1, 0],
        "judge": ["simulated", "llm:models/judge"],
    },
}

# (table, column, its broken values, the rule that the message must cite, the row it must name)
BROKEN: list[tuple[str, str, list[object], str, str]] = [
    ("sft", "response", ["x", " ", "z"], "response is not blank", "sft_id='s2'"),
    ("sft", "prompt", ["", "b", "c"], "prompt is not blank", "sft_id='s1'"),
    (
        "sft",
        "split",
        ["train", "test", "train"],
        "split is one of train, validation",
        "sft_id='s2'",
    ),
    ("sft", "prompt_id", ["p1", "p1", "p3"], "all rows of a prompt_id lie in one split", "'s1'"),
    ("preferences", "chosen", ["y", "y"], "chosen ≠ rejected", "pair_id='h1'"),
    ("preferences", "chosen", ["", "y"], "chosen is not blank", "pair_id='h1'"),
    ("preferences", "rejected", ["y", ""], "rejected is not blank", "pair_id='h2'"),
    ("preferences", "prompt", ["a", "\n"], "prompt is not blank", "pair_id='h2'"),
    ("preferences", "split", ["train", "test"], "all rows of a prompt_id", "prompt_id='p1'"),
    ("preferences", "split", ["dev", "dev"], "split is one of train, val", "split='dev'"),
    ("preferences", "label_source", ["human", "model"], "label_source is one of", "'h2'"),
    ("preferences", "p_chosen", [-0.1, None], "0 ≤ p_chosen ≤ 1", "p_chosen=-0.1"),
    ("prompts", "split", ["train", "test"], "split is one of unlabeled, test", "'p1'"),
    ("prompts", "prompt", ["a", ""], "prompt is not blank", "'p2'"),
    ("world", "facts", ["{}", "[1]"], "facts is a JSON object", "facts='[1]'"),
    ("world", "facts", ["{", "{}"], "facts is a JSON object", "facts='{'"),
    (
        "candidates",
        "prompt_id",
        ["p1", "p1", "p2", "p3"],
        "as many candidates as the largest pool",
        "prompt_id='p2', candidate_index=0: candidates=1, needs=2",
    ),
    ("candidates", "candidate_index", [0, 1, 1, 2], "runs from 0 to N - 1", "index=2"),
    ("candidates", "candidate_index", [0, 1, -1, 0], "runs from 0 to N - 1", "index=-1"),
    ("candidates", "logprob", [0, 0.5, -1, -1], "logprob ≤ 0", "logprob=0.5"),
    ("candidates", "logprob", [0, -1, NAN, -1], "logprob is finite", "logprob=nan"),
    ("candidates", "logprob", [0, -1, -1, -float("inf")], "logprob is finite", "=-inf"),
    ("candidates", "n_tokens", [1, 0, 1, 1], "n_tokens ≥ 1", "n_tokens=0"),
    ("candidates", "finish_reason", ["stop", "eos", "stop", "stop"], "one of stop, length", "eos"),
    ("pairs", "chosen_index", [3, 5], "chosen_index ≠ rejected_index", "prompt_id='p1'"),
    ("pairs", "chosen_index", [-1, 5], "chosen_index ≥ 0", "chosen_index=-1"),
    ("pairs", "rejected_index", [1, -2], "rejected_index ≥ 0", "rejected_index=-2"),
    ("pairs", "p_chosen", [0.5, NAN], "0 ≤ p_chosen ≤ 1", "p_chosen=nan"),
    ("pairs", "pool_std", [None, -0.5], "pool_std ≥ 0", "pool_std=-0.5"),
    ("pairs", "pool_std", [None, float("inf")], "pool_std is finite", "pool_std=inf"),
    ("pairs", "fault", [None, "short"], "fault is one of cut, too_long", "fault='short'"),
    ("nested_pairs", "n", [1, 4], "n ≥ 2", "n=1"),
    ("nested_pairs", "chosen_index", [0, 4], "0 ≤ chosen_index < n", "chosen_index=4, n=4"),
    ("nested_pairs", "rejected_index", [-1, 0], "0 ≤ rejected_index < n", "rejected_index=-1"),
    ("nested_pairs", "chosen_index", [1, 3], "chosen_index ≠ rejected_index", "n=2"),
    ("nested_pairs", "p_chosen", [0.5, 1.1], "0 ≤ p_chosen ≤ 1", "p_chosen=1.1"),
    ("pool_margins", "candidate_index", [-1, 1], "candidate_index ≥ 0", "candidate_index=-1"),
    ("pool_margins", "margin", [0.5, NAN], "margin is finite", "margin=nan"),
    ("pool_margins", "fault", [None, "short"], "fault is one of cut, too_long", "fault='short'"),
    ("decisions", "dropped_by", [None, "taste"], "dropped_by is one of confidence", "'taste'"),
    ("decisions", "dropped_by", [None, None], "null if and only if kept", "kept=False"),
    ("decisions", "kept", [True, True], "null if and only if kept", "'likelihood'"),
    ("pair_scores", "set", ["test", "train"], "set is one of test, on_policy", "'train'"),
    ("pair_scores", "reward_chosen", [None, None], "both null or both not", "=None"),
    ("pair_scores", "reward_chosen", [NAN, None], "reward_chosen is finite", "=nan"),
    ("pair_scores", "reward_rejected", [NAN, None], "reward_rejected is finite", "=nan"),
    ("pair_scores", "p_chosen", [2.0, 0.0], "0 ≤ p_chosen ≤ 1", "p_chosen=2"),
    ("pool_scores", "reward", [NAN, 0.0], "reward is finite", "reward=nan"),
    ("prompt_measures", "measure", ["accuracy", "ece"], "measure is one of", "measure='ece'"),
    ("prompt_measures", "value", [NAN, 0.0], "value is finite", "value=nan"),
    ("prompt_measures", "rows", [1, 0], "rows ≥ 1", "rows=0"),
    ("pool_scores", "candidate_index", [0, -1], "candidate_index ≥ 0", "=-1"),
    ("verdicts", "p_forward", [0.5, 1.5], "0 ≤ p_forward ≤ 1", "first='y', second=''"),
    ("verdicts", "p_backward", [NAN, 0.0], "0 ≤ p_backward ≤ 1", "p_backward=nan"),
    ("verdicts", "unanswered", [1, 3], "unanswered is 0, 1 or 2", "unanswered=3"),
    ("verdicts", "unanswered", [1, 1], "has p_forward or p_backward 0.5", "first='y'"),
    ("verdicts", "judge", ["simulated", " "], "judge is not blank", "judge=' '"),
]


def named(name: str) -> Table:
    return table_for(f"{name}.parquet")


@pytest.mark.parametrize("name", VALID)
def test_a_valid_frame_is_written_and_read(name: str, tmp_path: Path) -> None:
    table = named(name)
    frame = table.frame(VALID[name])
    assert table.faults(frame) == []
    table.write(frame, tmp_path / "x.parquet")
    assert table.read(tmp_path / "x.parquet").equals(frame.sort(table.key))


@pytest.mark.parametrize(("name", "column", "values", "rule", "row"), BROKEN)
def test_a_broken_rule_is_cited_with_the_row(
    name: str, column: str, values: list[object], rule: str, row: str
) -> None:
    table = named(name)
    faults = table.faults(table.frame({**VALID[name], column: values}))
    assert any(rule in fault and row in fault for fault in faults), faults


def test_every_table_has_a_valid_frame_and_every_rule_is_broken_once() -> None:
    assert [table.name for table in TABLES] == list(VALID)
    for table in TABLES:
        cited = [rule for name, _, _, rule, _ in BROKEN if name == table.name]
        for check in table.checks:
            assert any(rule in check.rule for rule in cited), (table.name, check.rule)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_few_tables_may_have_no_rows(table: Table) -> None:
    allowed = table.name in {"world", "pool_margins", "pool_scores"}
    assert (table.faults(table.empty()) == []) is allowed


@pytest.mark.parametrize("name", VALID)
def test_a_null_is_refused_unless_the_column_may_be_null(name: str) -> None:
    table = named(name)
    frame = table.frame(VALID[name])
    for column, dtype in table.columns.items():
        faults = table.faults(frame.with_columns(pl.lit(None, dtype).alias(column)))
        refused = any(fault.startswith(f"column {column} is null on") for fault in faults)
        assert refused is (column not in table.nullable)


def test_an_unknown_table_is_refused_with_what_was_meant() -> None:
    with pytest.raises(DataError, match=r"no table is called pair_score \(did you mean pair_score"):
        table_for("data/pair_score.parquet")


def test_the_documentation_names_every_column_and_rule() -> None:
    text = markdown()
    for table in TABLES:
        section = text.split(f"## `{table.name}`\n")[1].split("\n## ")[0]
        assert all(f"| `{column}` |" in section for column in table.columns)
        assert all(f"- {check.rule}\n" in section for check in table.checks)
