from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest

from tests.sources.known_rows import OTHER_FORMS, QUESTIONS, SAMPLES, Sample, rows_of_sample
from westofn.core.dialogue import to_messages
from westofn.errors import DataError
from westofn.sources.collect import Part, Reading, collect_pairs
from westofn.sources.columns import Columns, has
from westofn.sources.expanding import (
    arena_turns,
    compared_predictions,
    ranked_replies_of_messages,
    ranked_replies_of_trees,
)
from westofn.sources.known_sets import KNOWN_SETS, KnownSet, overall_score_faults, recognise_set
from westofn.sources.reading import Row

Expand = Callable[[Iterable[Row]], Iterator[Row]]
CASES: dict[str, tuple[str, Sample]] = {
    **{name: (name, sample) for name, sample in SAMPLES.items()},
    **OTHER_FORMS,
}


def named(name: str) -> KnownSet:
    (known,) = (known for known in KNOWN_SETS if known.name == name)
    return known


def fault_of(expand: Expand, row: Row) -> str:
    (made,) = expand([row])
    assert made.where == row.where
    return str(made.fault)


def test_every_set_has_rows_and_a_mapping_of_one_form() -> None:
    assert [known.name for known in KNOWN_SETS] == list(SAMPLES)
    assert len(KNOWN_SETS) > 40
    for known in KNOWN_SETS:
        assert known.columns.form
        assert known.label_source in ("human", "ai_judge")


@pytest.mark.parametrize("case", CASES)
def test_rows_are_recognised_as_their_set_and_as_no_other(case: str) -> None:
    name, sample = CASES[case]
    for question in QUESTIONS:
        for row in sample.rows(question):
            assert [known.name for known in KNOWN_SETS if known.fits_row(row)] == [name]
            recognised = recognise_set(row)
            assert recognised is not None
            assert recognised.name == name


@pytest.mark.parametrize("case", CASES)
def test_every_column_of_a_mapping_is_in_the_rows(case: str) -> None:
    name, sample = CASES[case]
    known = named(name)
    raw = [Row("x.jsonl:1", values) for values in rows_of_sample(sample)]
    rows = list(known.expand(raw)) if known.expand else raw
    optional = {"input", "system", "history", "subset"}
    for row in rows:
        for field, paths in known.columns.paths.items():
            if field not in optional:
                assert all(has(row.values, path) for path in paths.split(",")), field


def test_rows_of_no_set_are_not_recognised() -> None:
    assert recognise_set({"prompt": "a", "chosen": "b", "rejected": "c"}) is None
    assert recognise_set({"prompt": "a", "completion": "b"}) is None
    assert recognise_set({"prompt": "a", "completion": "b", "label": "c"}) is None
    lists = {"helpfulness": [1, 2], "correctness": [1, 2], "coherence": [1, 2]}
    assert recognise_set({"prompt": "a", "response": "b", **lists}) is None


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("Orca DPO pairs", "context"),
        ("LLaMA-Factory preferences, alpaca form", "context"),
        ("KTO", "system"),
        ("LLMBar", "instruction"),
    ],
)
def test_a_form_with_another_part_of_a_prompt_is_not_taken_for_the_set(
    name: str, extra: str
) -> None:
    row = SAMPLES[name].rows(QUESTIONS[0])[0]
    assert recognise_set(row) == named(name)
    assert recognise_set({**row, extra: "Some more text."}) is None


def test_the_columns_that_a_set_reads_are_named() -> None:
    by_name = {known.name: known for known in KNOWN_SETS}
    pku = by_name["PKU-SafeRLHF"].reads
    assert pku == {"prompt", "response_0", "response_1", "better_response_id"}
    (row,) = SAMPLES["LMSYS arena 55k"].rows(QUESTIONS[0])
    assert row.keys() - by_name["LMSYS arena 55k"].reads == {"id", "model_a", "model_b"}
    (row,) = SAMPLES["TL;DR comparisons"].rows(QUESTIONS[0])
    assert row.keys() - by_name["TL;DR comparisons"].reads == {"worker", "split"}


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_rows_become_the_right_pairs_in_any_order(case: str, shuffled: bool) -> None:
    name, sample = CASES[case]
    values = rows_of_sample(sample)
    if shuffled:
        random.Random(case).shuffle(values)
    rows = iter([Row(f"x.jsonl:{number}", row) for number, row in enumerate(values, 1)])
    collected = collect_pairs([Part("", rows)], Reading(), "x.jsonl")
    assert collected.formats == (name,)
    read = {
        (tuple((m.role, m.content) for m in to_messages(p.prompt)), p.chosen, p.rejected)
        for p in collected.pairs
    }
    assert read == {(tuple(sample.turns(q.text)), q.good, q.bad) for q in QUESTIONS}
    assert len(collected.pairs) == len(QUESTIONS)
    known = named(name)
    assert {pair.label_source for pair in collected.pairs} == {known.label_source}
    ties = collected.counts["dropped_tie"]
    assert ties >= 1 if sample.ties else ties == 0
    others = {"dropped_tie", "dropped_identical_responses"}
    dropped = {n for n, count in collected.counts.items() if n.startswith("dropped_") and count}
    assert dropped <= others


def test_the_fault_of_ultrafeedback_is_counted_and_the_aspects_decide() -> None:
    (row,) = SAMPLES["UltraFeedback"].rows(QUESTIONS[0])
    completions = row["completions"]
    assert isinstance(completions, list)
    good, bad = completions
    bad = {**bad, "overall_score": 10.0, "fine-grained_score": 1.25}
    rows = [Row("x.jsonl:1", {**row, "completions": [bad, good]})]
    collected = collect_pairs([Part("", iter(rows))], Reading(), "x.jsonl")
    assert collected.counts["warned_overall_score_10"] == 1
    assert [pair.chosen for pair in collected.pairs] == [QUESTIONS[0].good]
    by_overall = replace(named("UltraFeedback").columns, scores="completions.*.overall_score")
    reading = Reading(columns=by_overall)
    collected = collect_pairs([Part("", iter(rows))], reading, "x.jsonl")
    assert [pair.chosen for pair in collected.pairs] == [QUESTIONS[0].bad]
    assert collected.pairs[0].label_source == "ai_judge"
    assert collected.counts["warned_overall_score_10"] == 1
    assert collected.warnings[0].startswith("1 completions have overall_score 10 beside")


def test_tools_of_openai_are_refused() -> None:
    (row,) = SAMPLES["OpenAI preference fine-tuning"].rows(QUESTIONS[0])
    given = row["input"]
    assert isinstance(given, dict)
    with_tools = {**row, "input": {**given, "tools": [{"type": "function"}]}}
    with pytest.raises(DataError, match=r"input\.tools has tools"):
        collect_pairs([Part("", iter([Row("x:1", with_tools)]))], Reading(), "x")


def test_an_arena_dialogue_with_other_earlier_turns_is_dropped() -> None:
    (row,) = SAMPLES["LMSYS arena 55k"].rows(QUESTIONS[0])
    other = {**row, "response_b": json.dumps(["Good day.", "The penguin."])}
    rows = [Row("x:1", row), Row("x:2", other)]
    collected = collect_pairs([Part("", iter(rows))], Reading(), "x")
    assert collected.counts["dropped_sides_differ_before_last_turn"] == 1
    assert collected.counts["rows_out"] == 1


def test_a_mapping_is_printed_with_what_differs_from_no_mapping() -> None:
    assert named("Nectar").columns.settings() == [
        "prepare.columns.prompt=prompt",
        "prepare.columns.responses=answers.*.answer",
        "prepare.columns.scores=answers.*.rank",
        "prepare.columns.order=lower",
    ]
    assert Columns().settings() == []


@pytest.mark.parametrize(
    ("overall", "fine", "faults"),
    [(10, 1.25, 1), (10.0, 2, 1), ("10", "1.5", 1), (10, 2.25, 0), (9.5, 1, 0), (10, None, 0)],
)
def test_an_overall_score_of_ten_beside_low_aspects_is_a_fault(
    overall: object, fine: object, faults: int
) -> None:
    completions = [
        {"response": "a", "overall_score": overall, "fine-grained_score": fine},
        {"response": "b", "overall_score": 7, "fine-grained_score": 4},
    ]
    assert overall_score_faults({"completions": completions}) == faults
    assert overall_score_faults({"completions": "x"}) == 0
    assert overall_score_faults({}) == 0


def test_a_tree_gives_a_row_for_each_prompt_with_two_ranked_replies() -> None:
    rows = [Row("x", row) for q in QUESTIONS[:1] for row in SAMPLES["OASST"].rows(q)]
    (expanded,) = ranked_replies_of_messages(rows)
    assert expanded.values["ranks"] == [0, 1]
    assert expanded.values["lang"] == "en"
    deleted = [*rows[:-1], Row("x", {**rows[-1].values, "deleted": True})]
    assert list(ranked_replies_of_messages(deleted)) == []
    without_root = rows[1:]
    assert list(ranked_replies_of_messages(without_root)) == []


def test_a_tree_with_an_unknown_role_is_refused() -> None:
    tree = {"message_tree_id": "t", "prompt": {"text": "a", "role": "bot", "replies": []}}
    needed = "x:1: column role is 'bot', needs prompter or assistant"
    assert needed in fault_of(ranked_replies_of_trees, Row("x:1", tree))
    message = {"message_id": "m", "parent_id": None, "text": "a", "role": "bot"}
    assert needed in fault_of(ranked_replies_of_messages, Row("x:1", message))
    tree = {"message_tree_id": "t", "prompt": {"text": "a", "role": "prompter", "replies": ["b"]}}
    assert "x:1: column replies is a str" in fault_of(ranked_replies_of_trees, Row("x:1", tree))


def test_lists_of_turns_must_agree() -> None:
    (row,) = SAMPLES["LMSYS arena 55k"].rows(QUESTIONS[0])
    shorter = Row("x:1", {**row, "response_b": '["a"]'})
    assert "x:1: 2 entries in prompt and 1 in response_b" in fault_of(arena_turns, shorter)
    twice = fault_of(arena_turns, Row("x:1", {**row, "winner_tie": 1}))
    assert "2 of winner_model_a, winner_model_b, winner_tie are 1, needs one" in twice
    flags = {"winner_model_a": False, "winner_model_b": "True", "winner_tie": 0.0}
    assert [made.values["winner"] for made in arena_turns([Row("x:1", {**row, **flags})])] == ["b"]


def test_comparisons_of_four_predictions_are_six_rows() -> None:
    (row,) = SAMPLES["Fine-Grained RLHF"].rows(QUESTIONS[0])
    labels = [1, 2, 0, 1, 2, 0]
    rows = list(compared_predictions([Row("x:1", {**row, "preference": labels})]))
    predictions = [row[f"prediction {number}"] for number in range(1, 5)]
    sides = [(predictions.index(r.values["response_a"]), predictions.index(r.values["response_b"]))
             for r in rows]  # fmt: skip
    assert sides == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert [r.values["label"] for r in rows] == labels
    fewer = Row("x:1", {**row, "preference": labels[:5]})
    assert "preference has 5 entries, needs 6" in fault_of(compared_predictions, fewer)


@pytest.mark.parametrize("expand", [known.expand for known in KNOWN_SETS if known.expand])
def test_rows_that_cannot_be_read_keep_their_fault(expand: Expand) -> None:
    unreadable = Row("x:7", {}, DataError("x:7: not JSON"))
    assert list(expand([unreadable])) == [unreadable]
