"""Scored rows in JSON lines, CSV and Parquet."""

from __future__ import annotations

import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pyarrow import parquet

from westofn.errors import DataError, ParameterError
from westofn.scoring.rows import Row
from westofn.scoring.writing import line, parquet_types, require_ending, writer_to


def row(values: dict[str, Any], text: str = "") -> Row:
    return Row("in.jsonl:1", values, text, "response", "x", ["y"])


def written(ending: str, *rows: dict[str, Any], source: Path = Path("in.jsonl")) -> bytes:
    """The content of a file of rows, each with a reward; written in two chunks."""
    handle = io.BytesIO()
    writer = writer_to(handle, ending, source)
    for chunk in (rows[:1], rows[1:]):
        writer.write([row(values) for values in chunk], [{"reward": 0.5}] * len(chunk))
    writer.close()
    return handle.getvalue()


def test_the_text_of_a_line_is_kept_byte_by_byte() -> None:
    text = '{"n": 1.10, "big": 12345678901234567890, "prompt": "\\u00e9", "response": ""  }'
    scored = line(row(json.loads(text), text), {"reward": 0.25})
    assert scored.decode() == f'{text[:-1].rstrip()}, "reward": 0.25}}\n'
    assert json.loads(scored) == json.loads(text) | {"reward": 0.25}


def test_a_row_of_another_format_becomes_a_line_of_its_values() -> None:
    assert (
        written(".jsonl", {"prompt": "é", "n": None}, {"prompt": "b"})
        == ('{"prompt": "é", "n": null, "reward": 0.5}\n{"prompt": "b", "reward": 0.5}\n').encode()
    )


def test_csv_has_the_columns_of_all_rows() -> None:
    content = written(
        ".csv", {"prompt": 'a "b"\r', "tags": ["x", "ß"]}, {"prompt": "c,\n", "n": 7, "ok": True}
    )
    assert content.decode() == (
        'prompt,tags,reward,n,ok\r\n"a ""b""\r","[""x"", ""ß""]",0.5,,\r\n"c,\n",,0.5,7,true\r\n'
    )


def test_parquet_infers_a_type_from_all_rows() -> None:
    content = written(
        ".parquet", {"n": None, "m": 1, "tags": []}, {"n": "a", "m": 1.5, "tags": ["x"]}
    )
    table = parquet.read_table(io.BytesIO(content))
    assert {field.name: str(field.type) for field in table.schema} == {
        "n": "string",
        "m": "double",
        "tags": "list<element: string>",
        "reward": "double",
    }
    assert table.column("n").to_pylist() == [None, "a"]


def test_parquet_keeps_the_types_of_a_parquet_source(tmp_path: Path) -> None:
    types = {
        "none": (pa.large_string(), "string"),
        "small": (pa.int8(), "int8"),
        "day": (pa.date32(), "date32[day]"),
        "word": (pa.dictionary(pa.int32(), pa.string()), "string"),
        "turns": (
            pa.large_list(pa.struct({"role": pa.large_string()})),
            "list<element: struct<role: string>>",
        ),
    }
    values: dict[str, Any] = {"none": None, "small": 1, "word": "a"}
    values |= {"day": dt.date(2024, 2, 29), "turns": [{"role": "user"}]}
    schema = pa.schema([(name, given) for name, (given, _) in types.items()])
    path = tmp_path / "in.parquet"
    parquet.write_table(pa.Table.from_pylist([values], schema=schema), path)
    table = parquet.read_table(io.BytesIO(written(".parquet", values, source=path)))
    type_of = {field.name: str(field.type) for field in table.schema}
    assert type_of == {name: plain for name, (_, plain) in types.items()} | {"reward": "double"}
    assert table.to_pylist() == [values | {"reward": 0.5}]


def test_what_a_format_cannot_hold_is_one_error() -> None:
    for ending, values, needed in (
        (".jsonl", {"day": dt.date(2024, 2, 29)}, "in.jsonl:1: cannot be written as JSON"),
        (".jsonl", {"n": float("inf")}, "in.jsonl:1: cannot be written as JSON"),
        (".jsonl", {"a": "\ud800"}, "in.jsonl:1: cannot be written as JSON"),
        (".csv", {"day": dt.date(2024, 2, 29)}, "scored row 1 cannot be written as CSV"),
        (".csv", {"a": "\ud800"}, "scored row 1 cannot be written as CSV"),
        (".parquet", {"a": "\ud800"}, "column a has no common type"),
        (".parquet", {"a": 2**70}, "column a has no common type"),
    ):
        with pytest.raises(DataError, match=needed) as refused:
            written(ending, values)
        assert "give --out a name that ends with" in str(refused.value)
        assert "\n" not in str(refused.value)
    with pytest.raises(DataError, match="column a has no common type, which Parquet needs"):
        written(".parquet", {"a": 1}, {"a": "x"})


@pytest.mark.parametrize("name", ["x", "x.json", "x.jsonl.gz", "x.txt", "x.CSV"])
def test_another_ending_is_refused(name: str) -> None:
    with pytest.raises(ParameterError, match=f"{name}: needs a name that ends with .jsonl, .csv"):
        require_ending(Path(name))


def test_a_source_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.parquet").write_text("no")
    with pytest.raises(DataError, match=r"in\.parquet: empty, truncated or not Parquet"):
        parquet_types(tmp_path / "in.parquet")
