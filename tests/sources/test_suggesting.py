from __future__ import annotations

import pytest

from westofn.sources.columns import Columns
from westofn.sources.suggesting import suggest


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        (
            {"q_id": 1, "query": "a", "good_answer": "b", "bad_answer": "c"},
            Columns(prompt="query", chosen="good_answer", rejected="bad_answer"),
        ),
        (
            {"task": {"instruction": "a"}, "winner": {"text": "b"}, "loser": {"text": "c"}},
            Columns(prompt="task.instruction", chosen="winner.text", rejected="loser.text"),
        ),
        (
            {"question": "a", "answer1": "b", "answer2": "c", "score1": 1, "score2": 2},
            Columns(
                prompt="question",
                response_a="answer1",
                response_b="answer2",
                score_a="score1",
                score_b="score2",
            ),
        ),
        (
            {"problem": "a", "candidates": ["b", "c"], "ranks": [2, 1]},
            Columns(prompt="problem", responses="candidates", scores="ranks", order="lower"),
        ),
        (
            {"problem": "a", "outputs": [{"reply": "b", "grade": 1}, {"reply": "c", "grade": 2}]},
            Columns(prompt="problem", responses="outputs.*.reply", scores="outputs.*.grade"),
        ),
        (
            {"system_prompt": "s", "user_question": "a", "reply": "b", "stars": 3, "rating": 4},
            Columns(
                prompt="user_question", system="system_prompt", response="reply", score="rating"
            ),
        ),
        (
            {"title": "a", "reply": "b", "reward": "0.5"},
            Columns(prompt="title", response="reply", score="reward"),
        ),
    ],
)
def test_names_and_types_give_a_mapping(row: dict[str, object], columns: Columns) -> None:
    suggestion = suggest([row])
    assert suggestion is not None
    assert suggestion.columns == columns
    assert suggestion.columns.form


def labelled(*labels: object) -> list[dict[str, object]]:
    return [{"q": "a", "left_text": "b", "right_text": "c", "choice": label} for label in labels]


@pytest.mark.parametrize(
    ("labels", "a", "b", "tie"),
    [
        (("model_b", "model_a", "tie"), "model_a", "model_b", "tie"),
        ((1, 2, 1), "1", "2", ""),
        ((-2, 0, 1), "<0", ">0", "0"),
        ((True, False), "false", "true", ""),
        (("a", "a"), "a", "b", ""),
        (("b",), "a", "b", ""),
        (("right", "unsure"), "left", "right", "unsure"),
        (("A", "B", "both bad", "draw"), "a", "b", "both bad,draw"),
    ],
)
def test_values_of_a_label_are_divided_and_told(
    labels: tuple[object, ...], a: str, b: str, tie: str
) -> None:
    suggestion = suggest(labelled(*labels))
    assert suggestion is not None
    columns = suggestion.columns
    assert (columns.response_a, columns.response_b) == ("left_text", "right_text")
    assert (columns.label_a, columns.label_b, columns.label_tie) == (a, b, tie)
    assert f"{str(labels[0]).lower()} (" in suggestion.check[0]


def test_without_a_column_named_like_a_prompt_the_first_other_text_is_told() -> None:
    suggestion = suggest([{"good": "a", "remark": "c", "bad": "b", "where": "d"}])
    assert suggestion is not None
    assert suggestion.columns.prompt == "remark"
    assert suggestion.check == ("check that remark is the prompt; other texts: where",)
    suggestion = suggest([{"good": "a", "bad": "b"}])
    assert suggestion is not None
    assert suggestion.columns == Columns(chosen="good", rejected="bad")
    assert suggestion.check == ()


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    assert suggest([{"x": 1, "y": 2}]) is None
    assert suggest([{"a": "text", "b": "text"}]) is None
    assert suggest([{}]) is None
