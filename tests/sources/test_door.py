"""Rows as people have them: read rightly, or refused by name."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from westofn.core.dialogue import is_dialogue, to_messages
from westofn.errors import DataError
from westofn.sources.collect import Collected, Part, Reading, collect_pairs, parts_of
from westofn.sources.columns import Columns
from westofn.sources.formats.names import PROMPTS
from westofn.sources.reading import Row

CASES = Path(__file__).parents[3] / "shared" / "cases" / "door"

BIRD = "Which bird swims?"
CHOSEN, REJECTED = "The penguin swims well.", "The robin swims well."
SYSTEM = "You answer briefly."


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def read(path: Path, **how: object) -> Collected:
    parts = parts_of(path, 0, "prepare.path", keep_faulty=how.get("bad_rows") == "drop")
    return collect_pairs(parts, Reading(**how), path)  # type: ignore[arg-type]


def collect(rows: Sequence[object], tmp_path: Path, **how: object) -> Collected:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read(path, **how)


def turns(prompt: str) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in to_messages(prompt)]


def only(row: object, tmp_path: Path, **how: object) -> tuple[list[tuple[str, str]], str, str]:
    (pair,) = collect([row], tmp_path, **how).pairs
    return turns(pair.prompt), pair.chosen, pair.rejected


def refusal(rows: Sequence[object], tmp_path: Path, **how: object) -> str:
    with pytest.raises(DataError) as caught:
        collect(rows, tmp_path, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


SIDES = {"chosen": CHOSEN, "rejected": REJECTED}
LISTS = {"chosen": [assistant(CHOSEN)], "rejected": [assistant(REJECTED)]}
WHOLE = {
    "chosen": [user(BIRD), assistant(CHOSEN)],
    "rejected": [user(BIRD), assistant(REJECTED)],
}
SHAREGPT = {
    "conversations": [{"from": "human", "value": BIRD}],
    "chosen": {"from": "gpt", "value": CHOSEN},
    "rejected": {"from": "gpt", "value": REJECTED},
}
HH = f"\n\nHuman: {BIRD}\n\nAssistant:"
LATE = [{"prompt": f"{BIRD} {number}", **SIDES} for number in range(70)]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": BIRD, **SIDES},
        {"question": BIRD, **SIDES},
        {"instruction": f" {BIRD}\r\n", **SIDES},
        {"query": BIRD, "answer_chosen": CHOSEN, "answer_rejected": REJECTED},
        {"prompt": BIRD, "preferred_response": CHOSEN, "dispreferred_response": REJECTED},
        {"prompt": HH, **SIDES},
        {"prompt": HH.strip(), **SIDES},
        {"prompt": BIRD, "history": "\n\nAssistant:", **SIDES},
        {"prompt": f"{HH} ", **SIDES},
        {"prompt": HH, "chosen": f"{HH} {CHOSEN}", "rejected": f"{HH} {REJECTED}"},
        {"chosen": f"{HH} {CHOSEN}", "rejected": f"{HH} {REJECTED}\n"},
        {"prompt": BIRD, "chosen": f"{BIRD} {CHOSEN}", "rejected": f"{BIRD}\n{REJECTED}"},
        {"prompt": [user(BIRD)], **LISTS},
        {"prompt": [user(BIRD)], **SIDES},
        {"messages": [user(BIRD)], **LISTS},
        {"prompt": [user(BIRD)], **WHOLE},
        {"prompt": BIRD, **WHOLE},
        {"prompt": f"<|im_start|>user\n{BIRD}<|im_end|>\n<|im_start|>assistant\n", **WHOLE},
        {**WHOLE, "tools": "[]", "images": []},
        {"prompt": [{"role": "system", "content": " "}, user(BIRD)], **LISTS},
        SHAREGPT,
        {"chosen": json.dumps({"messages": WHOLE["chosen"]}), "rejected": WHOLE["rejected"]},
        {"prompt": BIRD, "response_a": REJECTED, "response_b": CHOSEN, "winner": "b"},
        {"prompt": BIRD, "response_a": REJECTED, "response_b": CHOSEN, "winner": "response_b"},
        {"prompt": BIRD, "response_1": REJECTED, "response_2": CHOSEN, "preference": 2},
        {"prompt": BIRD, "answer_0": REJECTED, "answer_1": CHOSEN, "label": 1.0},
        {"prompt": BIRD, "answer_0": CHOSEN, "answer_1": REJECTED, "score_0": 1, "score_1": -1},
        {"prompt": BIRD, "responses": [REJECTED, CHOSEN], "ranks": [2, 1]},
        {
            "prompt": BIRD,
            "answers": [{"answer": REJECTED, "rank": 2}, {"answer": CHOSEN, "rank": 1}],
        },
        {"prompt": BIRD, "chosen": [CHOSEN], "rejected": [REJECTED]},
        {"prompt": [BIRD], "chosen": [CHOSEN], "rejected": [REJECTED]},
        {"prompt": BIRD, "chosen": f"{BIRD}{CHOSEN}", "rejected": f"{BIRD}{REJECTED}"},
        {"prompt": {"role": "user", "content": [{"type": "text", "text": BIRD}]}, **LISTS},
        {"messages": WHOLE["chosen"], "rejected_response": REJECTED},
        {"query": BIRD, "response": CHOSEN, "rejected_response": REJECTED},
        {"prompt": f"Human: {BIRD}\nAssistant:", **SIDES},
        {name: f"Human: {BIRD}\nAssistant: {text}" for name, text in SIDES.items()},
        {
            "prompt": BIRD,
            "response_a": {"text": REJECTED, "score": 1},
            "response_b": {"text": CHOSEN, "score": 2},
        },
        {
            "prompt": BIRD,
            "answers": json.dumps([{"text": REJECTED, "score": 1}, {"text": CHOSEN, "score": 2}]),
        },
    ],
)
def test_every_form_of_the_pair_is_the_same_pair(row: dict[str, object], tmp_path: Path) -> None:
    assert only(row, tmp_path) == ([("user", BIRD)], CHOSEN, REJECTED)


@pytest.mark.parametrize(
    "row",
    [
        {"system": SYSTEM, "question": BIRD, **SIDES},
        {"system_prompt": SYSTEM, "prompt": [user(BIRD)], **LISTS},
        {"prompt": [{"role": "system", "content": SYSTEM}, user(BIRD)], **LISTS},
        {"prompt": [{"role": "developer", "content": SYSTEM}, user(BIRD)], **WHOLE},
        {"prompt": f"\n\nSystem: {SYSTEM}{HH}", **SIDES},
        {
            "prompt": [user(BIRD)],
            "chosen": [{"role": "system", "content": SYSTEM}, *WHOLE["chosen"]],
            "rejected": [{"role": "system", "content": SYSTEM}, *WHOLE["rejected"]],
        },
        {"system": SYSTEM, **WHOLE},
        {"system": SYSTEM, **SHAREGPT},
    ],
)
def test_a_system_message_is_kept(row: dict[str, object], tmp_path: Path) -> None:
    assert only(row, tmp_path) == ([("system", SYSTEM), ("user", BIRD)], CHOSEN, REJECTED)


@pytest.mark.parametrize(
    "row",
    [
        {
            "prompt": "Hi.",
            "chosen": [assistant("Hello!"), *WHOLE["chosen"]],
            "rejected": [assistant("Hello!"), *WHOLE["rejected"]],
        },
        {"instruction": BIRD, "history": [["Hi.", "Hello!"]], **SIDES},
        {"prompt": BIRD, "history": [user("Hi."), assistant("Hello!")], **SIDES},
        {"prompt": [user("Hi."), assistant("Hello!")], **WHOLE},
        {
            "prompt": "\n\nHuman: Hi.\n\nAssistant:",
            "chosen": f" Hello!{HH} {CHOSEN}",
            "rejected": f" Hello!{HH} {REJECTED}",
        },
        {"prompt": BIRD, "context": [user("Hi."), assistant("Hello!")], **SIDES},
        {"prompt": BIRD, "context": json.dumps([user("Hi."), assistant("Hello!")]), **SIDES},
        {"prompt": BIRD, "context": "Human: Hi.\nAssistant: Hello!", **SIDES},
        {"prompt": BIRD, "history": "User: Hi.\nBot: Hello!", **SIDES},
        {"prompt": BIRD, "history": f"USER: Hi.\nASSISTANT: Hello!\nUSER: {BIRD}", **SIDES},
    ],
)
def test_earlier_turns_are_kept(row: dict[str, object], tmp_path: Path) -> None:
    context = [("user", "Hi."), ("assistant", "Hello!"), ("user", BIRD)]
    assert only(row, tmp_path) == (context, CHOSEN, REJECTED)


def test_input_and_context_belong_to_the_prompt(tmp_path: Path) -> None:
    alpaca = {"instruction": "Answer.", "input": BIRD, **SIDES}
    assert only(alpaca, tmp_path)[0] == [("user", f"Answer.\n{BIRD}")]
    with_context = {"question": BIRD, "context": "Penguins swim.", **SIDES}
    assert only(with_context, tmp_path)[0] == [("user", f"Penguins swim.\n\n{BIRD}")]
    assert only({**alpaca, "input": ""}, tmp_path)[0] == [("user", "Answer.")]
    turns_before = {"question": BIRD, "context": "Human: Hi.\n\nAssistant: Hello!", **SIDES}
    earlier = [("user", "Hi."), ("assistant", "Hello!")]
    assert only(turns_before, tmp_path)[0] == [*earlier, ("user", BIRD)]


@pytest.mark.parametrize(
    ("row", "needed"),
    [
        ({"note_text": BIRD, **SIDES}, "set prepare.columns.prompt=note_text"),
        ({"note_text": BIRD, **LISTS}, "set prepare.columns.prompt=note_text"),
        ({"prompt": "Be a pirate.", **WHOLE}, "set prepare.columns.system to its column"),
        ({"prompt": [user(BIRD), assistant("Well,")], **LISTS}, "within an assistant turn"),
        ({"prompt": BIRD, "tools": [{"name": "f"}], **SIDES}, "column tools has tools"),
        ({"prompt": BIRD, "tools": '[{"name": "f"}]', **SIDES}, "column tools has tools"),
        ({"prompt": BIRD, "images": ["a.png"], **SIDES}, "column images"),
        ({"prompt": BIRD, "audio": {"path": "a.wav"}, **SIDES}, "column audio"),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image_url"}]}], **LISTS},
            "part of type 'image_url'",
        ),
        (
            {"prompt": [user(BIRD), {"role": "tool", "content": "x"}], **LISTS},
            "message with role tool",
        ),
        (
            {
                "prompt": [user(BIRD), {**assistant(""), "tool_calls": [{"id": "x"}]}],
                "chosen": LISTS["chosen"],
                "rejected": LISTS["rejected"],
            },
            "message with tool_calls",
        ),
        ({"prompt": BIRD, "chosen": None, "rejected": REJECTED}, "chosen is a null"),
        (
            {"prompt": BIRD, "response_a": CHOSEN, "response_b": REJECTED, "label": 0},
            "do not say whether response_a or response_b is better",
        ),
        ({"prompt": BIRD, "response_a": CHOSEN, "response_b": REJECTED}, "have no label"),
        ({"prompt": BIRD, **SIDES, "score_chosen": 1, "score_rejected": 2}, "is worse than"),
        ({"prompt": BIRD, **SIDES, "rating-chosen": 1, "rating-rejected": 2}, "is worse than"),
    ],
)
def test_what_cannot_be_read_rightly_is_refused(
    row: dict[str, object], needed: str, tmp_path: Path
) -> None:
    assert needed in refusal([row], tmp_path)


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("score_chosen", "score_rejected"),
        ("chosen_score", "rejected_score"),
        ("chosen-rating", "rejected-rating"),
        ("rating_chosen", "rating_rejected"),
        ("chosen_avg_rating", "rejected_avg_rating"),
        ("votes_chosen", "votes_rejected"),
    ],
)
@pytest.mark.parametrize("sides", [{"prompt": BIRD, **SIDES}, WHOLE, {"prompt": BIRD, **WHOLE}])
def test_equal_ratings_are_ties_in_every_spelling(
    chosen: str, rejected: str, sides: Mapping[str, object], tmp_path: Path
) -> None:
    rows = [
        {**sides, chosen: 5, rejected: 5.0},
        {**sides, chosen: "5", rejected: "4"},
        {**sides, chosen: None, rejected: None},
    ]
    counts = collect(rows, tmp_path).counts
    assert (counts["dropped_tie"], counts["rows_out"]) == (1, 1)
    assert counts["dropped_duplicate_pair"] == 1


@pytest.mark.parametrize(
    ("equal", "swapped"),
    [
        ({"rating": {"chosen": 4, "rejected": 4}}, {"rating": {"chosen": 1, "rejected": 4}}),
        ({"meta": {"score_chosen": 4, "score_rejected": 4}},
         {"meta": {"score_chosen": 1, "score_rejected": 4}}),
        ({"ratings": [4, 4.0]}, {"ratings": [3, "4"]}),
        ({"chosen_helpfulness": 4, "rejected_helpfulness": 4},
         {"chosen_helpfulness": 3, "rejected_helpfulness": 4}),
        ({"rank_chosen": 2, "rank_rejected": 2}, {"rank_chosen": 2, "rank_rejected": 1}),
        ({"margin": 0}, {"margin": -1.5}),
        ({"score_diff": "0.0"}, {"score_diff": "-1"}),
        ({"label": "Tie"}, None),
        ({"winner": "tie (bothbad)"}, None),
        ({"choice": "no preference"}, None),
        ({"is_tie": True}, None),
        ({"is_tie": "yes"}, None),
        ({"outcome": "about equal"}, None),
        ({"verdict": "A=B"}, None),
        ({"preference_strength": 0}, None),
        ({"preference_strength": "both are equally bad"}, None),
        ({"ratings": "[4, 4]"}, {"ratings": "[3, 4]"}),
        ({"meta": '{"score_chosen": 4, "score_rejected": 4}'},
         {"meta": '{"score_chosen": 1, "score_rejected": 4}'}),
        ({"scores": '{"chosen": 4, "rejected": 4}'}, {"scores": '{"chosen": 3, "rejected": 4}'}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("late", [False, True])
def test_one_rule_for_what_is_said_beside_the_sides(
    equal: dict[str, object], swapped: dict[str, object] | None, late: bool, tmp_path: Path
) -> None:
    before = LATE if late else []
    row = {"prompt": BIRD, **SIDES}
    other = {"label": "chosen", "winner": "None", "is_tie": False, "margin": 1.5}
    is_verdict = swapped is None or "margin" in swapped or "score_diff" in swapped
    if late and not is_verdict:
        assert "is not read" in refusal([*before, {**row, **equal}], tmp_path)
    else:
        counts = collect([*before, {**row, **equal}, {**row, **other}], tmp_path).counts
        assert (counts["dropped_tie"], counts["rows_out"]) == (1, len(before) + 1)
    if swapped:
        needed = "set prepare.columns" if late else "mend or remove the row"
        assert needed in refusal([*before, {**row, **swapped}], tmp_path)
        columns = Columns(prompt="prompt", chosen="chosen", rejected="rejected")
        assert collect([*before, {**row, **swapped}], tmp_path, columns=columns).unread


def test_several_aspects_or_lists_of_responses_are_no_ratings_of_the_sides(tmp_path: Path) -> None:
    row = {"prompt": BIRD, **SIDES}
    aspects = {"chosen_quality": 1, "rejected_quality": 2, "chosen_overall": 2,
               "rejected_overall": 1}  # fmt: skip
    assert collect([{**row, **aspects}], tmp_path).counts["rows_out"] == 1
    generations = {"generations": [REJECTED, CHOSEN], "ratings": [1, 5]}
    assert collect([{**row, **generations}], tmp_path).counts["rows_out"] == 1


LABELLED = {"prompt": BIRD, "response_a": REJECTED, "response_b": CHOSEN, "label": "b"}


@pytest.mark.parametrize(
    ("agrees", "equal", "against"),
    [
        ({"score_a": 1, "score_b": 2}, {"score_a": 2, "score_b": 2}, {"score_a": 3, "score_b": 2}),
        ({"rank_a": 2, "rank_b": 1}, {"rank_a": 1, "rank_b": 1}, {"rank_a": 1, "rank_b": 2}),
        ({"scores": {"a": 1, "b": 2}}, {"scores": {"a": 2, "b": 2}}, {"scores": {"a": 3, "b": 2}}),
    ],
)
def test_ratings_beside_a_label_have_to_agree_with_it(
    agrees: dict[str, object],
    equal: dict[str, object],
    against: dict[str, object],
    tmp_path: Path,
) -> None:
    assert only({**LABELLED, **agrees}, tmp_path) == ([("user", BIRD)], CHOSEN, REJECTED)
    assert "dropped_tie 1" in refusal([{**LABELLED, **equal}], tmp_path)
    assert "label prefers b, but" in refusal([{**LABELLED, **against}], tmp_path)
    late = [{**LABELLED, "prompt": f"{BIRD} {number}"} for number in range(70)]
    assert "is not read" in refusal([*late, {**LABELLED, **agrees}], tmp_path)


@pytest.mark.parametrize(
    "tie", [{"is_tie": 1}, {"margin": 0}, {"winner": "tie"}, {"preference_strength": "equal"}]
)
def test_what_says_tie_beside_a_label_is_read(tie: dict[str, object], tmp_path: Path) -> None:
    counts = collect([LABELLED, {**LABELLED, "prompt": "Which?", **tie}], tmp_path).counts
    assert (counts["dropped_tie"], counts["rows_out"]) == (1, 1)
    columns = Columns(
        prompt="prompt", response_a="response_a", response_b="response_b", label="label",
        label_a="a", label_b="b",
    )  # fmt: skip
    assert collect([{**LABELLED, **tie}], tmp_path, columns=columns).counts["rows_out"] == 1


def test_a_tie_beyond_the_first_rows_is_a_tie(tmp_path: Path) -> None:
    rows = [{**LABELLED, "prompt": f"{BIRD} {number}"} for number in range(70)]
    counts = collect([*rows, {**LABELLED, "label": "Both are bad"}], tmp_path).counts
    assert (counts["dropped_tie"], counts["rows_out"]) == (1, 70)
    assert "needs a for a" in refusal([*rows, {**LABELLED, "label": "not sure"}], tmp_path)


def test_a_later_label_that_contradicts_the_first_is_refused(tmp_path: Path) -> None:
    rows = [{**LABELLED, "prompt": f"{BIRD} {number}"} for number in range(70)]
    assert collect([*rows, {**LABELLED, "choice": "b"}], tmp_path).counts["rows_out"] == 71
    needed = "columns label and choice prefer different responses"
    assert needed in refusal([*rows, {**LABELLED, "choice": "a"}], tmp_path)


def test_unread_columns_beside_the_usual_names_of_a_set_are_checked(tmp_path: Path) -> None:
    row = {"system": SYSTEM, "question": BIRD, **SIDES, "passage": "Penguins swim."}
    assert "set prepare.columns.context=passage" in refusal([row], tmp_path)


def test_ratings_within_a_json_answer_are_no_ratings_of_the_sides(tmp_path: Path) -> None:
    sides = {"chosen": '{"score": 3}', "rejected": '{"score": 5}'}
    assert only({"prompt": BIRD, **sides}, tmp_path)[1:] == (sides["chosen"], sides["rejected"])


def test_a_label_of_zero_is_no_tie_of_names_that_count_from_one(tmp_path: Path) -> None:
    rows = [{"instruction": BIRD, "input": "", "output_1": CHOSEN, "output_2": REJECTED,
             "preference": label} for label in (1, 0)]  # fmt: skip
    assert "preference is 0, needs 1 for a, 2 for b" in refusal(rows, tmp_path)


def test_several_ratings_of_one_response_count_as_their_mean(tmp_path: Path) -> None:
    rated = [(CHOSEN, 3), (CHOSEN, 3), (REJECTED, 1), (REJECTED, 4)]
    rows = [{"prompt": BIRD, "response": text, "score": score} for text, score in rated]
    (pair,) = collect(rows, tmp_path).pairs
    assert (pair.chosen, pair.rejected) == (CHOSEN, REJECTED)


@pytest.mark.parametrize("sides", [SIDES, LISTS, WHOLE])
@pytest.mark.parametrize("name", ["prompt", "messages", "conversation"])
def test_a_prompt_may_be_the_whole_dialogue_with_a_response(
    name: str, sides: dict[str, object], tmp_path: Path
) -> None:
    for whole in WHOLE.values():
        assert only({name: whole, **sides}, tmp_path) == ([("user", BIRD)], CHOSEN, REJECTED)
    lists = {name: WHOLE["chosen"], "responses": [REJECTED, CHOSEN], "scores": [1, 2]}
    assert only(lists, tmp_path) == ([("user", BIRD)], CHOSEN, REJECTED)
    other = {name: [user(BIRD), assistant("The ostrich.")], **sides}
    needed = "within an assistant turn" if sides is not WHOLE else "without prepare.columns.prompt"
    assert needed in refusal([other], tmp_path)


def test_what_the_prompt_holds_already_is_read_once(tmp_path: Path) -> None:
    history = {"history": [user("Hi."), assistant("Hello!"), user(BIRD)], "question": BIRD, **SIDES}
    context = [("user", "Hi."), ("assistant", "Hello!"), ("user", BIRD)]
    assert only(history, tmp_path) == (context, CHOSEN, REJECTED)
    row = {"context": "Penguins swim.", "prompt": f"Penguins swim.\n{BIRD}", **SIDES}
    assert only(row, tmp_path)[0] == [("user", f"Penguins swim.\n{BIRD}")]
    part = {"instruction": "Say it of birds.", "input": "birds", **SIDES}
    assert only(part, tmp_path)[0] == [("user", "Say it of birds.\nbirds")]


def test_whole_dialogues_in_a_rated_list_need_no_prompt(tmp_path: Path) -> None:
    row = {"responses": [WHOLE["rejected"], WHOLE["chosen"]], "scores": [1, 2]}
    assert only(row, tmp_path) == ([("user", BIRD)], CHOSEN, REJECTED)
    whole = {"responses": [f"{HH} {REJECTED}", f"{HH} {CHOSEN}"], "scores": [1, 2]}
    assert only(whole, tmp_path) == ([("user", BIRD)], CHOSEN, REJECTED)
    texts = {"responses": [REJECTED, CHOSEN], "scores": [1, 2]}
    assert "column prompt is missing" in refusal([texts], tmp_path)


def test_empty_lists_in_the_first_row_do_not_hide_the_form(tmp_path: Path) -> None:
    filled = {"prompt": BIRD, "answers": [{"text": REJECTED, "score": 1},
                                          {"text": CHOSEN, "score": 2}]}  # fmt: skip
    counts = collect([{"prompt": "Q?", "answers": []}, filled], tmp_path).counts
    assert (counts["dropped_one_response"], counts["rows_out"]) == (1, 1)


def test_a_bad_row_is_refused_or_dropped_within_the_limit(tmp_path: Path) -> None:
    good = [{"prompt": f"{BIRD} {number}", **SIDES} for number in range(18)]
    bad: list[object] = [{**good[0], "rejected": None}, {**good[1], "prompt": 3}]
    assert ":1: column rejected is a null" in refusal([bad[0], *good], tmp_path)
    collected = collect([*bad, *good], tmp_path, bad_rows="drop")
    assert collected.counts["dropped_bad_row"] == 2
    assert collected.counts["rows_in"] == collected.counts["rows_out"] + 2 == 20
    assert collected.warnings[0] == "2 bad rows are dropped; the first 2:"
    assert ":1: column rejected is a null" in collected.warnings[1]
    text = refusal([*bad, *bad, *good], tmp_path, bad_rows="drop")
    assert "4 of 22 rows cannot be read, more than the share 0.1" in text
    path = tmp_path / "rows.jsonl"
    path.write_text("not json\n" + "".join(json.dumps(row) + "\n" for row in good))
    assert read(path, bad_rows="drop").counts["dropped_bad_row"] == 1


def test_odd_texts_and_contradictions_are_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": "<|im_start|>user a", "chosen": "b b", "rejected": "c c"},
        {"prompt": "one [INST] b", "chosen": "b b", "rejected": "c c</s>"},
        {"prompt": "two", "chosen": "None", "rejected": "c c"},
        {"prompt": "three", "chosen": "0", "rejected": "1"},
        {"prompt": "four", "chosen": '{"a": 1}', "rejected": "c c"},
        {"prompt": "five", "chosen": "b b", "rejected": "c c"},
        {"prompt": "five", "chosen": "c c", "rejected": "b b"},
        {"prompt": "<\uff5cUser\uff5c>six", "chosen": "b b", "rejected": "c c"},
        {"prompt": "seven", "chosen": "b b<eos>", "rejected": "c c"},
        {"prompt": "eight<extra_id_1>User", "chosen": "b b", "rejected": "c c"},
        {"prompt": "NaN", "chosen": "b b", "rejected": "c c"},
        {"prompt": [user("None")], "chosen": "b b", "rejected": "c c"},
        {"prompt": "<image>\nten", "chosen": "b b", "rejected": "c c"},
        {"prompt": "User: a\nAssistant: b\nUser: c", "chosen": "b b", "rejected": "c c"},
        {"prompt": "<html> [a|b] x<|y", "chosen": "b b", "rejected": "c c"},
    ]
    collected = collect(rows, tmp_path)
    assert {k: n for k, n in collected.counts.items() if k.startswith(("warned", "contra"))} == {
        "warned_template_tokens": 5,
        "warned_media": 1,
        "warned_turns_in_text": 1,
        "warned_missing_texts": 3,
        "warned_indices": 1,
        "warned_json_texts": 1,
        "contradicting_pairs": 1,
    }
    assert any("both orders, the first for the prompt 'five'" in w for w in collected.warnings)


def test_columns_that_are_not_read_are_named(tmp_path: Path) -> None:
    rows = [{"prompt": BIRD, **SIDES, "notes": "x"}, {"prompt": BIRD, **SIDES, "system2": "y"}]
    assert collect(rows, tmp_path).unread == ("notes", "system2")


class TestMapping:
    """A mapping reads what it names, and nothing else."""

    def test_paths_lead_into_objects_and_lists(self, tmp_path: Path) -> None:
        row = {
            "q": {"full.text": BIRD},
            "out": [{"text": REJECTED, "points": 1}, {"text": CHOSEN, "points": 3}],
        }
        columns = Columns(prompt="q.full.text", chosen="out.1.text", rejected="out.-2.text")
        assert only(row, tmp_path, columns=columns) == ([("user", BIRD)], CHOSEN, REJECTED)
        lists = Columns(prompt="q.full.text", responses="out.*.text", scores="out.*.points")
        assert only(row, tmp_path, columns=lists) == ([("user", BIRD)], CHOSEN, REJECTED)

    @pytest.mark.parametrize(
        ("label", "label_a", "label_b", "result"),
        [
            ("x", "x,y", "z", (CHOSEN, REJECTED)),
            (-2, "<0", ">0", (CHOSEN, REJECTED)),
            (True, "true", "false", (CHOSEN, REJECTED)),
            (2.0, "1", "2", (REJECTED, CHOSEN)),
        ],
    )
    def test_values_of_labels(
        self,
        label: object,
        label_a: str,
        label_b: str,
        result: tuple[str, str],
        tmp_path: Path,
    ) -> None:
        columns = Columns(
            prompt="p",
            response_a="a",
            response_b="b",
            label="which",
            label_a=label_a,
            label_b=label_b,
        )
        row = {"p": BIRD, "a": CHOSEN, "b": REJECTED, "which": label}
        assert only(row, tmp_path, columns=columns)[1:] == result

    def test_the_majority_of_several_labels_decides(self, tmp_path: Path) -> None:
        columns = Columns(
            prompt="p",
            response_a="a",
            response_b="b",
            label="x,y,z",
            label_a="1",
            label_b="2",
            label_tie="0",
        )
        row = {"p": BIRD, "a": CHOSEN, "b": REJECTED}
        votes = [(1, 1, 2), (2, 0, 2), (0, 0, 1), (1, 2, 0)]
        rows = [{**row, "x": x, "y": y, "z": z, "p": f"{x}{y}{z}"} for x, y, z in votes]
        collected = collect(rows, tmp_path, columns=columns)
        assert {pair.prompt: pair.chosen for pair in collected.pairs} == {
            "112": CHOSEN,
            "202": REJECTED,
        }
        assert collected.counts["dropped_tie"] == 2

    def test_an_unknown_label_and_a_missing_column_are_refused(self, tmp_path: Path) -> None:
        columns = Columns(
            prompt="p", response_a="a", response_b="b", label="w", label_a="1", label_b="2"
        )
        row = {"p": BIRD, "a": CHOSEN, "b": REJECTED, "w": 3}
        assert "column w is 3, needs 1 for a, 2 for b" in refusal([row], tmp_path, columns=columns)
        row = {"p": BIRD, "a": CHOSEN, "bb": REJECTED, "w": 1}
        assert "column b is missing" in refusal([row], tmp_path, columns=columns)

    def test_given_ids_have_to_be_unique(self, tmp_path: Path) -> None:
        columns = Columns(prompt="prompt", chosen="chosen", rejected="rejected", id="n")
        rows = [{"prompt": f"{BIRD} {n}", **SIDES, "n": 1} for n in range(2)]
        assert ":2: id '1' is also at" in refusal(rows, tmp_path, columns=columns)

    def test_lower_ratings_are_better_where_the_order_says_so(self, tmp_path: Path) -> None:
        columns = Columns(prompt="p", response="r", score="n", order="lower")
        rows = [{"p": BIRD, "r": REJECTED, "n": 2}, {"p": BIRD, "r": CHOSEN, "n": 1}]
        (pair,) = collect(rows, tmp_path, columns=columns).pairs
        assert (pair.chosen, pair.rejected) == (CHOSEN, REJECTED)


WORDS = ["ab", "ax", "cd", "ef", "gh", "Human:", "x.", "\n", "\n\nHuman:", "\n\nAssistant:"]
CELLS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
BESIDE = ("source", "id", "lang", "model")
"""Columns that no prompt has as its name; the texts of the test are short, as theirs are."""
OTHERS = (*PROMPTS, "system", "context", "text", "title", "note", *BESIDE)
MARKER = re.compile(r"(?:\A\s*|\n\n)(?:Human|Assistant):")


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, str], list[str]]:
    """One row of texts with its two sides, perhaps a label, and other columns; names of sides."""
    names = draw(st.sampled_from([["chosen", "rejected"], ["response_a", "response_b"],
                                  ["text_chosen", "text_rejected"]]))  # fmt: skip
    others = draw(st.lists(st.sampled_from(OTHERS), max_size=3, unique=True))
    row = {name: draw(CELLS) for name in (*others, *names)}
    beginning = draw(st.sampled_from(["", "ab cd", *row.values()]))
    row |= {name: f"{beginning} {row[name]}" for name in names}
    if "response_a" in names:
        row["label"] = draw(st.sampled_from(["a", "b", "tie"]))
    return dict(draw(st.permutations(list(row.items())))), names


def test_a_pair_holds_whole_cells_or_documented_parts() -> None:
    """Of a random table, a text of a pair is a cell, a turn of one, a rest, or joined cells."""
    seen: Counter[str] = Counter()

    @settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(table=tables())
    def check(table: tuple[dict[str, str], list[str]]) -> None:
        row, names = table
        try:
            (pair,) = collect_pairs([Part("", iter([Row("x:1", row)]))], Reading(), "x").pairs
        except DataError:
            return
        texts = {*row.values()} | {turn for cell in row.values() for turn in MARKER.split(cell)}
        parts = set(map(in_one_line, texts)) - {""}
        contents = [in_one_line(content) for _, content in turns(pair.prompt)]
        for side in map(in_one_line, (pair.chosen, pair.rejected)):
            assert side in parts or any(f"{text} {side}" in parts for text in (*parts, *contents))
        is_whole = any(is_dialogue(row[name]) for name in names)
        filled = {name for name, cell in row.items() if any(c.strip() for _, c in turns(cell))}
        if filled - {*names, "label", *BESIDE} or is_whole:
            seen["given"] += 1
            lengths = range(1, min(3, len(parts)) + 1)
            joined = {" ".join(some) for n in lengths for some in permutations(parts, n)}
            assert set(contents) <= joined
        else:
            seen["implicit"] += 1
            assert all(in_one_line(row[name]).startswith(contents[0]) for name in names)

    check()
    assert seen["given"] > 50
    assert seen["implicit"] > 5


def in_one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not on this machine")
@pytest.mark.parametrize("path", sorted(CASES.glob("*.[jcp]*")), ids=lambda path: path.name)
def test_cases(path: Path) -> None:
    refused = {
        "empty_turn": "dropped_empty_turn 1",
        "images": "column images",
        "nan": ":2: column rejected is a null",
        "null_rejected": ":2: column rejected is a null",
        "null_score": ":2: column score is a null",
        "prompt_ends_assistant": "within an assistant turn",
        "rating_chosen_ties": "dropped_tie 3",
        "rlhflow_ties": "dropped_tie 6",
        "texts_score_ties": "dropped_tie 6",
        "system_text_prompt_and_dialogues": "prepare.columns.system",
        "tool_calls_context_notool": "tool_calls",
        "tools": "tool",
    }
    name = path.name.split(".")[0]
    if name in refused:
        with pytest.raises(DataError) as caught:
            read(path)
        assert refused[name] in str(caught.value)
        return
    collected = read(path)
    pairs = {
        dict(turns(pair.prompt)[::-1])["user"]: (pair.chosen, pair.rejected)
        for pair in reversed(collected.pairs)
        if pair.rejected != CHOSEN
    }
    if name == "rated_rows_superscript":
        assert pairs == {
            "What is 5²?": ("25", "24"),
            "What is 52?": ("fifty-two", "It is a number between 51 and 53."),
        }
        return
    if name == "question_shared":
        assert pairs == {"Is water wet?": ("I think so.", "I doubt it.")}
        return
    bird = f"Answer the question.\n{BIRD}" if name == "llamafactory_alpaca_input" else BIRD
    assert pairs[bird] == (CHOSEN, REJECTED)
    systems = {
        "orca_dpo_pairs": SYSTEM,
        "system_only_in_prompt": "S",
        "system_prompt": "Answer in French.",
    }
    if name in systems:
        assert all(("system", systems[name]) in turns(pair.prompt) for pair in collected.pairs)
    assert collected.counts["dropped_tie"] == (1 if name == "arena_33k" else 0)
    assert collected.counts["contradicting_pairs"] == (3 if name == "contradicting" else 0)


@pytest.mark.parametrize(
    "row",
    [
        {"Prompt": BIRD, "Chosen": CHOSEN, "Rejected": REJECTED},
        {"PROMPT": BIRD, "CHOSEN": CHOSEN, "REJECTED": REJECTED},
        {"userPrompt": BIRD, "chosenResponse": CHOSEN, "rejectedResponse": REJECTED},
        {" prompt": BIRD, "chosen ": CHOSEN, "Rejected": REJECTED, "Chosen Model": "m"},
        {"Prompt": BIRD, "Response A": REJECTED, "Response B": CHOSEN, "Preference": "B"},
        {"Question": BIRD, "Answer 1": REJECTED, "Answer 2": CHOSEN, "Better Response": 2},
        {"Prompt": BIRD, "responses": [REJECTED, CHOSEN], "Scores": [1, "2"]},
        {"Conversations": SHAREGPT["conversations"], "Chosen": SHAREGPT["chosen"],
         "Rejected": SHAREGPT["rejected"]},
        {"prompt": BIRD, "left_response": REJECTED, "right_response": CHOSEN, "winner": "right"},
    ],
)  # fmt: skip
def test_names_of_columns_are_read_in_any_spelling(row: dict[str, object], tmp_path: Path) -> None:
    assert only(row, tmp_path) == ([("user", BIRD)], CHOSEN, REJECTED)


@pytest.mark.parametrize(
    "names",
    [
        *(("accepted", "rejected"), ("chosen", "reject"), ("selected", "rejected")),
        *(("preferred", "unpreferred"), ("winning_response", "losing_response"), ("win", "lose")),
        *(("best", "worst"), ("y_w", "y_l"), ("preferred_output", "nonpreferred_output")),
    ],
)
def test_sides_have_many_names(names: tuple[str, str], tmp_path: Path) -> None:
    row = {"prompt": BIRD, names[0]: CHOSEN, names[1]: REJECTED}
    assert only(row, tmp_path) == ([("user", BIRD)], CHOSEN, REJECTED)


@pytest.mark.parametrize(
    "name",
    ["sys", "sys_prompt", "System Prompt", "systemPrompt", "system_instruction", "developer"],
)
def test_a_system_message_has_many_names(name: str, tmp_path: Path) -> None:
    row = {name: SYSTEM, "prompt": BIRD, **SIDES}
    assert only(row, tmp_path) == ([("system", SYSTEM), ("user", BIRD)], CHOSEN, REJECTED)


@pytest.mark.parametrize(
    "label", ["B is slightly better", "B much better", "strongly prefer B", "A>>>B"]
)
def test_degrees_of_a_preference_name_a_response(label: str, tmp_path: Path) -> None:
    sides = (REJECTED, CHOSEN) if label != "A>>>B" else (CHOSEN, REJECTED)
    row = {"prompt": BIRD, **dict(zip(("response_a", "response_b"), sides, strict=True))}
    assert only({**row, "label": label}, tmp_path) == ([("user", BIRD)], CHOSEN, REJECTED)


@pytest.mark.parametrize("label", ["[[B]]", "Response B", "Model B", "(B)", "B.", "B wins",
                                   "b is better", "answer_b", "B > A"])  # fmt: skip
@pytest.mark.parametrize("tie", ["both bad", "bothbad", "No preference", "tie(bothbad)", "even",
                                 "equally good", "A=B", "None", "Neither is better",
                                 "both are equally bad", "no difference", "It's a tie",
                                 "no strong preference",
                                 "="])  # fmt: skip
def test_labels_and_ties_are_read_in_any_spelling(label: str, tie: str, tmp_path: Path) -> None:
    rows = [
        {"prompt": BIRD, "response_a": REJECTED, "response_b": CHOSEN, "winner": label},
        {"prompt": "Which?", "response_a": REJECTED, "response_b": CHOSEN, "winner": tie},
    ]
    collected = collect(rows, tmp_path)
    assert [(pair.chosen, pair.rejected) for pair in collected.pairs] == [(CHOSEN, REJECTED)]
    assert collected.counts["dropped_tie"] == 1


RATED = {
    "prompt": BIRD,
    "chosen": {"text": CHOSEN, "score": 5},
    "rejected": {"text": REJECTED, "score": 3},
}


def test_objects_with_a_text_and_a_rating_are_sides(tmp_path: Path) -> None:
    assert only(RATED, tmp_path) == ([("user", BIRD)], CHOSEN, REJECTED)
    no_prompt = {name: RATED[name] for name in ("chosen", "rejected")}
    assert only(no_prompt, tmp_path) == ([("user", "The")], CHOSEN[4:], REJECTED[4:])
    swapped = {"prompt": BIRD, "chosen": RATED["rejected"], "rejected": RATED["chosen"]}
    assert "is worse than rejected.score" in refusal([swapped], tmp_path)
    messages = {name: {**assistant(CHOSEN), "rating": 1} for name in ("chosen", "rejected")}
    assert "dropped_tie 1" in refusal([{"prompt": BIRD, **messages}], tmp_path)


@pytest.mark.parametrize(
    ("row", "needed"),
    [
        ({"system": SYSTEM}, "column system is not read"),
        ({"History": [user("Hi."), assistant("Hello!")]}, "set prepare.columns.history=History"),
        ({"context": "Penguins swim."}, "set prepare.columns.context=context"),
        ({"instruction": "Answer in French."}, "set prepare.columns.prompt=instruction, with"),
        ({"messages": [user("Hi."), assistant("Hello!")]}, "column messages is not read"),
        ({"passage": "Penguins swim."}, "set prepare.columns.context=passage"),
        ({"score_chosen": 1, "score_rejected": 4}, "column score_chosen and score_rejected"),
        ({"Tools": [{"name": "f"}]}, "column Tools has tools"),
        ({"available_tools": [{"name": "f"}]}, "column available_tools has tools"),
        ({"tool_calls": '[{"name": "f"}]'}, "column tool_calls has tools"),
        ({"Image URL": "a.png"}, "column Image URL has"),
        ({"prompt_image_1": "a.png"}, "column prompt_image_1 has"),
        ({"video_file": "a.mp4"}, "column video_file has"),
        ({"previous_turns": [user("Hi."), assistant("Hello!")]}, "history=previous_turns"),
        ({"dialog": json.dumps([user("Hi."), assistant("Hello!")])}, "columns.history=dialog"),
        ({"source_document": "Penguins swim in the sea."}, "columns.context=source_document"),
        ({"schema": "CREATE TABLE birds"}, "columns.context=schema"),
        ({"choices": ["penguin", "robin"]}, "columns.input=choices"),
        ({"persona": "You are a pirate."}, "columns.system=persona"),
        ({"text": "Penguins swim, robins fly."}, "columns.input=text"),
        ({"source": "Der Pinguin schwimmt."}, "columns.input=source"),
        ({"contexts": ["Penguins swim.", "Robins fly."]}, "columns.context=contexts"),
    ],
)
def test_a_column_that_appears_late_is_not_left_out(
    row: dict[str, object], needed: str, tmp_path: Path
) -> None:
    assert needed in refusal([*LATE, {"prompt": BIRD, **SIDES, **row}], tmp_path)
    assert needed in refusal([{"prompt": BIRD, **SIDES}, *LATE, {**LATE[0], **row}], tmp_path)
    columns = Columns(prompt="prompt", chosen="chosen", rejected="rejected")
    if " has" not in needed:
        assert collect([*LATE, {**LATE[0], **row}], tmp_path, columns=columns).unread


def test_a_column_that_is_null_at_first_is_read(tmp_path: Path) -> None:
    rows = [{**row, "system": None, "context": None, "score_chosen": None, "score_rejected": None}
            for row in LATE]  # fmt: skip
    last = {"prompt": BIRD, **SIDES, "system": SYSTEM, "context": "C", "score_chosen": 2,
            "score_rejected": 2}  # fmt: skip
    assert collect([*rows, last], tmp_path).counts["dropped_tie"] == 1
    pairs = collect([*rows, {**last, "score_chosen": 3}], tmp_path).pairs
    assert [("system", SYSTEM), ("user", f"C\n\n{BIRD}")] in [turns(p.prompt) for p in pairs]


def test_what_the_pair_holds_may_stand_in_other_columns_too(tmp_path: Path) -> None:
    row = {"prompt": f"Question: {BIRD}", "question": BIRD, **SIDES}
    assert collect([row], tmp_path).unread == ("question",)
    texts = {"text": f"<s>{BIRD} {CHOSEN}", "dialog": [user(BIRD), assistant(CHOSEN)],
             "document_id": "a b c d", "source": "a b c d e f", "turns": 2}  # fmt: skip
    assert collect([{"prompt": BIRD, **SIDES, **texts}], tmp_path).unread == tuple(sorted(texts))
    whole = {"prompt": BIRD, **WHOLE, "messages": WHOLE["chosen"], "conversations": json.dumps(
        [{"from": "human", "value": BIRD}])}  # fmt: skip
    assert collect([whole], tmp_path).unread == ("conversations", "messages")


@pytest.mark.parametrize(
    ("row", "needed"),
    [
        ({"Prompt": "Other?", "prompt": BIRD, **SIDES}, "column Prompt is not read"),
        ({"task": BIRD, **SIDES}, "set prepare.columns.prompt=task"),
        ({"source_text": BIRD, **SIDES}, "set prepare.columns.prompt=source_text"),
        ({"turns_so_far": [user(BIRD)], **SIDES}, "set prepare.columns.prompt=turns_so_far"),
        ({"title": "Birds", "post": BIRD, **SIDES}, "column title is not read"),
        ({"title": "T", "post": BIRD, **SIDES}, "column title is not read"),
        ({"messages": [user(BIRD)], "rejected_response": REJECTED}, "ends with role 'user'"),
        ({"instruction": BIRD, "input": "", "passage": "A text.", **SIDES}, "passage is not read"),
        ({"prompt": BIRD, "history": ["Hi.", "Hello!", "Bye."], **SIDES}, "has 3 texts before"),
        ({"prompt": BIRD, "response_a": CHOSEN, "response_b": REJECTED, "result": "b"},
         "prepare.columns.label=result, prepare.columns.label_a=a, prepare.columns.label_b=b"),
        ({"prompt": BIRD, "response_a": CHOSEN, "response_b": REJECTED, "label": "unsure"},
         "set prepare.columns.prompt=prompt, prepare.columns.response_a=response_a"),
        ({"word": "Bird", **SIDES}, "set prepare.columns.prompt=word"),
        ({"system": "Other.", "prompt": [{"role": "system", "content": SYSTEM}, user(BIRD)],
          **LISTS}, "has another system message"),
        ({"prompt": BIRD, **SIDES, "score_chosen": "2/5", "score_rejected": "4/5"},
         "without prepare.columns.chosen_score"),
        ({"prompt": BIRD, **SIDES, "chosen_reward": 1, "rejected_reward": 2}, "is worse than"),
        ({"prompt": BIRD, "chosen": "b", "rejected": "a", "response_a": REJECTED,
          "response_b": CHOSEN}, "may name a response in response_a, response_b"),
        ({"prompt": BIRD, "chosen": "1", "rejected": "0", "responses": [REJECTED, CHOSEN]},
         "may name a response in responses"),
        ({"prompt": BIRD, "winner": "m1", "loser": "m2", "winner_text": CHOSEN,
          "loser_text": REJECTED}, "several columns could be the responses"),
        ({"prompt": BIRD, "chosen_position": "left", "rejected_position": "right"}, "fit no form"),
        ({"prompt": BIRD, "answer1": CHOSEN, "answer2": REJECTED, "answer3": "x", "label": 2},
         "more than two responses"),
        ({"prompt": BIRD, "response_a": CHOSEN, "response_b": REJECTED, "label": "b",
          "preference": "a"}, "prefer different responses"),
        ({"prompt": BIRD, "response_a": CHOSEN, "response_b": REJECTED, "cost_score_a": 1,
          "cost_score_b": 2}, "have no label"),
        ({"prompt": BIRD, "response_a": CHOSEN, "response_b": REJECTED, "winner": "-b"},
         "do not say whether"),
        ({"prompt": BIRD, "chosen": f"['{CHOSEN}']", "rejected": f"['{REJECTED}']"},
         "column chosen has lists as texts"),
        ({"prompt": BIRD, "chosen": f'["{CHOSEN}"]', "rejected": f'["{REJECTED}"]'},
         "column chosen has lists as texts"),
        ({"prompt": [{**user(BIRD), "images": ["a.png"]}], **LISTS}, "prompt.images has images"),
        ({"prompt": BIRD, "history": "[[", **SIDES}, "column history is no JSON list"),
        ({"prompt": BIRD, **SIDES, "score_chosen": 10**399, "score_rejected": 1}, "400 digits"),
        ({"prompt": BIRD, **SIDES, "score_chosen": "1_0", "score_rejected": 1}, "needs a finite"),
        ({"prompt": BIRD, "responses": [CHOSEN, REJECTED, "x"], "rankings": [2, 0, 1]},
         "fit no form"),
        ({"prompt": BIRD, "chosen": CHOSEN, "rejected": "\u200b"}, "dropped_empty_response 1"),
        ({"prompt": BIRD, "chosen": CHOSEN, "rejected": f"{CHOSEN}\u200b"}, "dropped_identical"),
        ({"prompt": BIRD, "chosen": f"{HH} {CHOSEN}", "rejected": REJECTED},
         "dropped_sides_differ"),
        ({"prompt": [{"role": "user", "content": [{"type": "text"}]}], **LISTS}, "is a null"),
        ({**dict.fromkeys(("chosen", "rejected"), 5), "prompt": BIRD}, "chosen is a int"),
    ],
)  # fmt: skip
def test_a_doubt_is_refused_with_what_decides_it(
    row: dict[str, object], needed: str, tmp_path: Path
) -> None:
    assert needed in refusal([row], tmp_path)


@pytest.mark.parametrize(
    "template",
    [
        "User: {}\n\nAssistant: {}",
        "### Human: {}### Assistant: {}",
        "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>",
        "[INST] {} [/INST] {}",
        "### Instruction:\n{}\n\n### Response:\n{}",
        "<start_of_turn>user\n{}<end_of_turn>\n<start_of_turn>model\n{}",
        "Q: {}\nA: {}",
    ],
)
def test_a_rendered_dialogue_is_not_cut_within_the_response(template: str, tmp_path: Path) -> None:
    sides = {name: template.format(BIRD, text) for name, text in SIDES.items()}
    assert "begin with a dialogue" in refusal([sides], tmp_path)
    sides["chosen"], sides["rejected"] = (
        template.format(BIRD, text) for text in ("Yes, it does.", "No, it does not.")
    )
    (pair,) = collect([sides], tmp_path).pairs
    assert pair.chosen.startswith("Yes, it does.")


def test_responses_that_all_begin_with_the_prompt_lose_it(tmp_path: Path) -> None:
    texts = [f"{BIRD} {REJECTED}", f"{BIRD}\n{CHOSEN}"]
    lists = {"prompt": BIRD, "responses": texts, "scores": [1, 2]}
    assert only(lists, tmp_path) == ([("user", BIRD)], CHOSEN, REJECTED)
    rows = [{"prompt": BIRD, "response": t, "score": n} for n, t in enumerate(texts)]
    (pair,) = collect(rows, tmp_path).pairs
    assert (pair.chosen, pair.rejected) == (CHOSEN, REJECTED)
    within = {"prompt": BIRD, "chosen": f"Q: {BIRD} A: x", "rejected": f"Q: {BIRD} A: y"}
    assert collect([within], tmp_path).counts["warned_prompt_in_sides"] == 1


def test_a_row_of_lists_is_a_table_alone_and_refused_among_others(tmp_path: Path) -> None:
    row = {"prompt": [BIRD, "x", "y"], "chosen": [CHOSEN] * 3, "rejected": [REJECTED] * 3}
    assert [pair.prompt for pair in collect([row], tmp_path).pairs] == [BIRD, "x", "y"]
    assert "are lists of texts, as of many rows in one" in refusal([row, row], tmp_path)


def test_flags_may_be_texts(tmp_path: Path) -> None:
    rows = [
        {"prompt": BIRD, "completion": REJECTED, "label": "FALSE"},
        {"prompt": BIRD, "completion": CHOSEN, "label": "True"},
    ]
    (pair,) = collect(rows, tmp_path).pairs
    assert (pair.chosen, pair.rejected) == (CHOSEN, REJECTED)


def test_ratings_of_prompts_that_only_look_alike_are_not_mixed(tmp_path: Path) -> None:
    rows = [
        {"prompt": "What is 5²?", "response": "25", "score": 2},
        {"prompt": "What is 52?", "response": "fifty-two", "score": 1},
    ]
    assert "dropped_one_response 2" in refusal(rows, tmp_path)


@pytest.mark.parametrize(
    ("rows", "mapping"),
    [
        ([{"prompt": BIRD, "completion": CHOSEN, "label": 1}],
         "set prepare.columns.prompt=prompt, prepare.columns.response=completion, "
         "prepare.columns.score=label if"),
        ([{"prompt": BIRD, "response": CHOSEN, "toxicity_score": 0.5}],
         "prepare.columns.score=toxicity_score, prepare.columns.order=lower if"),
        ([{"row": {"prompt": BIRD, **SIDES}}], "prepare.columns.chosen=row.chosen"),
        ([{"messages": WHOLE["chosen"], "score": 1}], "prepare.columns.response=messages"),
        ([{"prompt": BIRD, "responses": [CHOSEN, REJECTED], "winner": 1}],
         "response_a=responses.0, prepare.columns.response_b=responses.1, "
         "prepare.columns.label=winner"),
        ([{"instruction": BIRD, "output": [CHOSEN, REJECTED]}],
         "prepare.columns.chosen=output.0, prepare.columns.rejected=output.1"),
        ([{"prompt": BIRD, "response": CHOSEN, "costs": 1}], "prepare.columns.order=lower"),
        ([{"question": BIRD, "answers": [{"text": CHOSEN, "accepted": True},
                                         {"text": REJECTED, "accepted": False}]}],
         "prepare.columns.scores=answers.*.accepted"),
        ([{"instruction": BIRD, "output": CHOSEN, "rejected": REJECTED}],
         "prepare.columns.chosen=output, prepare.columns.rejected=rejected"),
        ([{"prompt": BIRD, "response": CHOSEN, "thumbs_up": True}], "columns.score=thumbs_up"),
    ],
)  # fmt: skip
def test_a_file_of_no_form_is_refused_with_the_mapping_that_may_fit(
    rows: list[dict[str, object]], mapping: str, tmp_path: Path
) -> None:
    assert mapping in refusal(rows, tmp_path)
