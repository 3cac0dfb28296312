"""What a row must hold to be scored, and how its texts are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from westofn.errors import DataError
from westofn.scoring.rows import Faults, Form, Row, read_rows
from westofn.sources.collect import Reading, collect_pairs, parts_of
from westofn.sources.column_settings import parse_settings
from westofn.sources.columns import Columns
from westofn.sources.json_lines import JsonLine, json_lines

GIVEN = Columns()


def raw(*lines: str | bytes, keep_faulty: bool = False) -> list[JsonLine]:
    given = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return list(json_lines(given, "in.jsonl", keep_faulty=keep_faulty))


def rows(*lines: str | bytes, columns: Columns = GIVEN) -> list[Row]:
    """Raises what reading raises."""
    return list(read_rows(raw(*lines), "in.jsonl", given=columns))


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


ASKED = [message("user", "x")]
SYSTEM = [message("system", "s"), *ASKED]


@pytest.mark.parametrize(
    ("row", "form", "responses"),
    [
        ({"prompt": "x", "response": "y"}, "response", ["y"]),
        ({"prompt": "x", "completion": "y", "label": False}, "response", ["y"]),
        ({"prompt": "x", "response": "y", "score": 3}, "response", ["y"]),
        ({"instruction": "x", "output": "y"}, "response", ["y"]),
        ({"question": "x", "answer": "y"}, "response", ["y"]),
        ({"responses": ["y", "z"], "prompt": "x"}, "responses", ["y", "z"]),
        ({"prompt": "x", "responses": ["y"], "scores": [2]}, "responses", ["y"]),
        ({"prompt": "x", "responses": '["y", "z"]'}, "responses", ["y", "z"]),
        (
            {"prompt": "x", "completions": [{"text": "y", "score": 1}, {"text": "z", "score": 2}]},
            "responses",
            ["y", "z"],
        ),
        ({"prompt": "x", "rejected": "z", "chosen": "y"}, "pair", ["y", "z"]),
        ({"prompt": "x", "response_a": "y", "response_b": "z"}, "pair", ["y", "z"]),
        (
            {"prompt": "x", "response_0": "y", "response_1": "z", "better_response_id": 1},
            "pair",
            ["y", "z"],
        ),
        ({"prompt": "x", "chosen": "y", "rejected": "y"}, "pair", ["y", "y"]),
        ({"prompt": "x", "chosen": ["y"], "rejected": ["z", "w"]}, "responses", ["y", "z", "w"]),
        ({"prompt": "x", "chosen": "y", "rejected": ["z"]}, "responses", ["y", "z"]),
    ],
)
def test_forms_are_known_by_the_columns_of_responses(
    row: dict[str, object], form: Form, responses: list[str]
) -> None:
    (read,) = rows(json.dumps(row))
    assert (read.form, read.prompt, read.responses) == (form, "x", responses)
    assert read.values == row


DIALOGUE = "\n\nHuman: x\n\nAssistant:"
WHOLE = [*ASKED, message("assistant", "y")]
OTHER = [*ASKED, message("assistant", "z")]


@pytest.mark.parametrize(
    ("row", "prompt", "responses"),
    [
        ({"messages": WHOLE}, DIALOGUE, ["y"]),
        ({"prompt": "x", "completion": WHOLE[1:]}, DIALOGUE, ["y"]),
        ({"prompt": "x", "messages": WHOLE}, DIALOGUE, ["y"]),
        ({"prompt": ASKED, "response": "y"}, DIALOGUE, ["y"]),
        ({"messages": ASKED, "response": "y"}, DIALOGUE, ["y"]),
        ({"prompt": SYSTEM, "response": "y"}, f"\n\nSystem: s{DIALOGUE}", ["y"]),
        ({"prompt": ASKED, "responses": ["y", "z"]}, DIALOGUE, ["y", "z"]),
        ({"prompt": ASKED, "responses": [WHOLE, OTHER]}, DIALOGUE, ["y", "z"]),
        ({"chosen": WHOLE, "rejected": OTHER}, DIALOGUE, ["y", "z"]),
        ({"conversation_a": WHOLE, "conversation_b": OTHER}, DIALOGUE, ["y", "z"]),
        (
            {"prompt": ASKED, "chosen": WHOLE[1:], "rejected": OTHER[1:]},
            DIALOGUE,
            ["y", "z"],
        ),
        ({"chosen": f"{DIALOGUE} y", "rejected": f"{DIALOGUE} z"}, DIALOGUE, ["y", "z"]),
        ({"prompt": f"{DIALOGUE} ", "response": "y"}, DIALOGUE, ["y"]),
        ({"prompt": "Human: x\n\nAssistant:", "response": "y"}, DIALOGUE, ["y"]),
        ({"chosen": "It is hot", "rejected": "It is cold"}, "It is", ["hot", "cold"]),
    ],
)
def test_dialogues_are_read_as_by_prepare(
    row: dict[str, object], prompt: str, responses: list[str]
) -> None:
    (read,) = rows(json.dumps(row))
    assert (read.prompt, read.responses) == (prompt, responses)


PAIRS: list[dict[str, object]] = [
    {"prompt": " x\r\ny \n", "chosen": "\n a\r\nb\t", "rejected": " c "},
    {"prompt": f"{DIALOGUE}  ", "chosen": " a", "rejected": "b\r"},
    {"prompt": [message("user", " x\r\n")], "chosen": " a", "rejected": "b"},
    {
        "chosen": [message("user", "x "), message("assistant", " a\r\n")],
        "rejected": [message("user", " x"), message("assistant", "b")],
    },
    {"chosen": f"{DIALOGUE} a \n", "rejected": f"{DIALOGUE}  b"},
    {"chosen": "Ice is  cold.", "rejected": "Ice is hot. "},
    {"instruction": "x", "input": " z", "chosen": "a", "rejected": "b"},
    {"system": "s", "question": "x", "chosen": "a", "rejected": "b"},
    {"messages": [message("user", "x"), message("assistant", "b")], "chosen": "a", "rejected": "b"},
]


@pytest.mark.parametrize("pair", PAIRS)
def test_a_pair_has_the_texts_that_prepare_trains_on(
    pair: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(pair))
    (prepared,) = collect_pairs(parts_of(path, 0, "path"), Reading(), path).pairs
    (read,) = rows(json.dumps(pair))
    assert (read.prompt, read.responses) == (prepared.prompt, [prepared.chosen, prepared.rejected])


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": "What is x?", "responses": ["What is x? a ", "What is x?\nb"]},
        {"prompt": "What is x?", "responses": ["What is x? a", "b"]},
        {"messages": [message("user", "x"), message("assistant", "b")], "responses": ["a", "b"]},
        {
            "responses": [
                [message("user", "x"), message("assistant", text)] for text in (" a", "b\r\n")
            ]
        },
    ],
)
def test_a_list_has_the_texts_that_prepare_trains_on(
    values: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "rated.jsonl"
    path.write_text(json.dumps({**values, "scores": [2, 1]}))
    (prepared,) = collect_pairs(parts_of(path, 0, "path"), Reading(), path).pairs
    (read,) = rows(json.dumps(values))
    assert (read.prompt, read.responses) == (prepared.prompt, [prepared.chosen, prepared.rejected])


POST = {"subreddit": "tifu", "title": "a", "post": "b"}


def test_a_known_set_is_read_row_by_row() -> None:
    comparison = {"info": POST, "summaries": [{"text": " y"}, {"text": "z"}], "choice": 1}
    (read,) = rows(json.dumps(comparison))
    assert (read.form, read.responses) == ("pair", ["y", "z"])
    assert read.prompt == "SUBREDDIT: r/tifu\nTITLE: a\nPOST: b\nTL;DR:"
    assert read.values == comparison


def test_a_row_is_read_when_it_is_asked_for() -> None:
    seen: list[int] = []

    def endless() -> Iterator[JsonLine]:
        for number in count(1):
            seen.append(number)
            yield JsonLine(f"-:{number}", "", {"prompt": "x", "response": "y"})

    scored = read_rows(endless(), "stdin", given=GIVEN)
    assert [next(scored).place, len(seen)] == ["-:1", 1]
    assert [next(scored).place, len(seen)] == ["-:2", 2]


def test_the_first_rows_show_what_a_column_holds() -> None:
    first = {"prompt": "x", "response": None, "responses": ["y"]}
    given = raw(json.dumps(first), json.dumps(first | {"prompt": None}))
    (read,) = read_rows(given, "in.jsonl", given=GIVEN, head=2, dropped=Faults())
    assert read.responses == ["y"]


def columns_from(settings: list[str]) -> Columns:
    return parse_settings(settings, needs_labels=False).columns or Columns()


def test_a_user_names_columns_that_have_other_names() -> None:
    row = {"q": {"text": "x"}, "outs": [{"a": "y"}, {"a": "z"}], "response": "w"}
    settings = ["prepare.columns.prompt=q.text", "prepare.columns.responses=outs.*.a"]
    (read,) = rows(json.dumps(row), columns=columns_from(settings))
    assert (read.prompt, read.responses) == ("x", ["y", "z"])
    (read,) = rows(json.dumps(row), columns=columns_from(settings[:1]))
    assert (read.prompt, read.responses) == ("x", ["w"])  # the response is recognised
    (read,) = rows(
        json.dumps({"prompt": "x", "best": "y"}),
        columns=columns_from(["prepare.columns.response=best", "prepare.columns.system=none"]),
    )
    assert (read.prompt, read.responses) == ("x", ["y"])  # the prompt is recognised


def test_blank_lines_and_a_byte_order_mark_are_passed_over() -> None:
    row = b'{"prompt": "x", "response": "y"}'
    assert len(rows(b"\xef\xbb\xbf" + row, b"", b"  \n", row)) == 2


GOOD = '{"prompt": "x", "response": "y"}'
BAD: list[tuple[str | bytes, str]] = [
    ("{", "in.jsonl:2: not JSON (Expecting property name"),
    ('["x", "y"]', "in.jsonl:2: the line is a list, needs an object a line"),
    ("7", "in.jsonl:2: the line is a int, needs an object a line"),
    ('{"prompt": "x", "response": NaN}', "in.jsonl:2: not JSON (NaN is not a finite number)"),
    (b'{"prompt": "\xff"}', "in.jsonl:2: byte 12 is not UTF-8"),
    ('{"prompt": "x"}', "in.jsonl:2: column response is missing; the row has 'prompt'"),
    ("{}", "in.jsonl:2: column response is missing"),
    ('{"prompt": "x", "reponse": "y"}', "(did you mean reponse?)"),
    ('{"prompt": 7, "response": "y"}', "in.jsonl:2: column prompt is a int (7), needs text"),
    ('{"prompt": "x", "response": null}', "in.jsonl:2: column response is a null"),
    ('{"prompt": "x", "response": ["y", "z"]}', "column response has a list of texts"),
    ('{"prompt": "x", "response": "\\ud800"}', "response holds half a surrogate pair"),
    ('{"prompt": "x", "response": "y", "reward": 1}', "in.jsonl:2: column reward exists already"),
    ('{"prompt": "x", "response": "y", "images": ["z"]}', "column images has images"),
    ('{"prompt": "x", "response": "y", "tools": [{"name": "f"}]}', "column tools has tools"),
    (
        json.dumps({"prompt": [*WHOLE[:1], message("tool", "4"), *ASKED], "response": "y"}),
        "column prompt has a message with role tool, a tool call",
    ),
    (
        json.dumps({"prompt": [*WHOLE[:1], message("assistant", ""), *ASKED], "response": "y"}),
        "in.jsonl:2: the prompt has an empty turn",
    ),
    (
        '{"prompt": "x", "chosen": "y", "rejected": "z"}',
        "in.jsonl:2: column response is missing",
    ),
]


@pytest.mark.parametrize(("line", "needed"), BAD)
def test_a_bad_line_is_refused_with_its_place(line: str | bytes, needed: str) -> None:
    with pytest.raises(DataError) as refused:
        rows(GOOD, line)
    assert needed in str(refused.value)
    assert "\n" not in str(refused.value)


def test_bad_lines_are_dropped_and_counted_on_demand() -> None:
    lines = [line for line, _ in BAD]
    dropped = Faults()
    given = raw(GOOD, *lines, GOOD, keep_faulty=True)
    read = list(read_rows(given, "in.jsonl", given=GIVEN, dropped=dropped))
    assert [row.place for row in read] == ["in.jsonl:1", f"in.jsonl:{len(lines) + 2}"]
    assert dropped.count == len(lines)
    assert dropped.first.startswith("in.jsonl:2: not JSON")


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ('{"prompt": "x"}', "in.jsonl:1: has 'prompt', needs prompt and response"),
        ("{}", "in.jsonl:1: has no columns, needs prompt and response"),
        ('{"prompt": "x", "reponse": "y"}', "(did you mean response?)"),
        ('{"response": "x"}', "column prompt is missing"),
        ('{"prompt": "x", "chosen": "y"}', "has 'prompt, chosen', needs"),
        (
            '{"prompt": "x", "response": "y", "responses": ["y"]}',
            "in.jsonl:1: has response and responses at once; set prepare.columns.response=response",
        ),
        ('{"prompt": "x", "responses": []}', "responses is [], needs a list of at"),
        ('{"prompt": "x", "responses": "y"}', "responses is a str ('y'), needs a list"),
        ('{"prompt": "x", "responses": ["y", 7]}', "responses is a int (7), needs text"),
        ('{"prompt": "x", "chosen": ["a", 7], "rejected": ["c"]}', "chosen has an entry of 'str'"),
        (
            json.dumps({"chosen": WHOLE, "rejected": [message("user", "w"), *WHOLE[1:]]}),
            "chosen and rejected: sides differ before last turn",
        ),
        (
            json.dumps({"responses": [WHOLE, [message("user", "w"), *WHOLE[1:]]], "prompt": ""}),
            "column responses: the responses follow different dialogues",
        ),
        ('{"chosen": "Yes", "rejected": "No"}', "no shared prompt"),
    ],
)
def test_columns_that_are_not_understood_are_refused(line: str, needed: str) -> None:
    with pytest.raises(DataError) as refused:
        rows(line)
    assert needed in str(refused.value)
    assert "\n" not in str(refused.value)


def test_all_rows_have_one_form() -> None:
    pair = {"prompt": "x", "chosen": "y", "rejected": "z"}
    lists = [pair, {**pair, "rejected": ["z", "w"]}]
    needed = "in.jsonl:2: gets a list of rewards, rows before it get a margin; needs one form"
    with pytest.raises(DataError, match=needed):
        rows(*map(json.dumps, lists))


def test_a_file_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match=r"in\.jsonl: no rows to score"):
        rows("", "\n")
    with pytest.raises(DataError, match=r"no rows to score, the first fault: in\.jsonl:1: column"):
        list(
            read_rows(raw(GOOD[:-1] + ', "reward": 1}'), "in.jsonl", given=GIVEN, dropped=Faults())
        )
