"""What a line must hold to be scored, and how it is written back."""

from __future__ import annotations

import json

import pytest

from westofn.errors import DataError
from westofn.scoring.rows import Form, read_rows


def rows(*lines: str | bytes) -> list[str]:
    """Forms of the rows; raises what reading raises."""
    given = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return [row.form for row in read_rows(given, "in.jsonl")]


@pytest.mark.parametrize(
    ("line", "form", "responses"),
    [
        ('{"prompt": "x", "response": "y"}', "response", ["y"]),
        ('{"responses": ["y", "z"], "prompt": "x"}', "responses", ["y", "z"]),
        ('{"prompt": "x", "rejected": "z", "chosen": "y"}', "pair", ["y", "z"]),
    ],
)
def test_three_forms_are_known_whatever_the_order_of_columns(
    line: str, form: Form, responses: list[str]
) -> None:
    (row,) = read_rows([line.encode()], "in.jsonl")
    assert (row.form, row.prompt, row.responses) == (form, "x", responses)


def test_other_columns_are_carried_along_byte_by_byte() -> None:
    line = '{"n": 1.10, "big": 12345678901234567890, "prompt": "\\u00e9", "response": ""  }'
    (row,) = read_rows([f"  {line}\r\n".encode()], "in.jsonl")
    written = row.with_columns({"reward": 0.25})
    assert written == f'{line[:-1].rstrip()}, "reward": 0.25}}\n'
    assert json.loads(written) == json.loads(line) | {"reward": 0.25}


def test_blank_lines_and_a_byte_order_mark_are_passed_over() -> None:
    row = b'{"prompt": "x", "response": "y"}'
    assert rows(b"\xef\xbb\xbf" + row, b"", b"  \n", row) == ["response", "response"]


GOOD = '{"prompt": "x", "response": "y"}'


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("{", "in.jsonl:2: not JSON (Expecting property name"),
        ('["x", "y"]', "in.jsonl:2: found a list, needs an object a line"),
        ("7", "in.jsonl:2: found a int, needs an object a line"),
        ('{"prompt": "x", "response": NaN}', "in.jsonl:2: not JSON (NaN is not a finite number)"),
        (b'{"prompt": "\xff"}', "in.jsonl:2: byte 12 is not UTF-8"),
        ('{"prompt": "x"}', "in.jsonl:2: has 'prompt', needs prompt and response"),
        ("{}", "in.jsonl:2: has no columns, needs prompt and response"),
        ('{"prompt": "x", "reponse": "y"}', "(did you mean response?)"),
        ('{"response": "x"}', "in.jsonl:2: has 'response', needs prompt and response"),
        ('{"prompt": "x", "chosen": "y"}', "has 'prompt, chosen', needs"),
        (
            '{"prompt": "x", "response": "y", "responses": ["y"]}',
            "in.jsonl:2: has response, responses at once",
        ),
        ('{"prompt": 7, "response": "y"}', "in.jsonl:2: column prompt is a int (7), needs text"),
        ('{"prompt": "x", "response": null}', "in.jsonl:2: column response is a null"),
        ('{"prompt": "x", "responses": []}', "responses is [], needs a list of at"),
        ('{"prompt": "x", "responses": "y"}', "responses is 'y', needs a list of at"),
        ('{"prompt": "x", "responses": ["y", {}]}', "responses[1] is a dict ({}), needs text"),
        ('{"prompt": "x", "response": "\\ud800"}', "response holds half a surrogate pair"),
        (
            '{"prompt": "x", "response": "y", "reward": 1}',
            "in.jsonl:2: column reward exists already",
        ),
        (
            '{"prompt": "x", "chosen": "y", "rejected": "z"}',
            "in.jsonl:2: has chosen and rejected, the first row has response (in.jsonl:1)",
        ),
    ],
)
def test_a_bad_line_is_refused_with_its_place(line: str | bytes, needed: str) -> None:
    with pytest.raises(DataError) as refused:
        rows(GOOD, line)
    assert needed in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match=r"in\.jsonl: no rows to score"):
        rows("", "\n")
