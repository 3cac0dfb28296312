from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from tests.damages import DAMAGES
from westofn.artifacts.json_file import (
    read_json,
    read_records,
    write_json,
    write_records,
    write_rows,
)
from westofn.errors import DataError


def refusal(content: bytes, path: Path) -> str:
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_json(path, written_by="eval")
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert "rerun eval" in text
    return text


def test_what_is_written_is_read(tmp_path: Path) -> None:
    value = {"k1": {"accuracy": 0.725, "pairs": 12, "gold": None, "ok": True, "λ": ["a", 1.0]}}
    write_json(value, tmp_path / "deep" / "metrics.json")
    assert read_json(tmp_path / "deep" / "metrics.json") == value


def test_equal_content_gives_equal_bytes_that_end_with_a_newline(tmp_path: Path) -> None:
    write_json({"a": 1, "b": (0.1, 2)}, tmp_path / "1.json")
    write_json({"b": [0.1, 2], "a": 1}, tmp_path / "2.json")
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    assert (tmp_path / "1.json").read_text() == (
        '{\n  "a": 1,\n  "b": [\n    0.1,\n    2\n  ]\n}\n'
    )


def test_numbers_of_numpy_become_plain(tmp_path: Path) -> None:
    write_json({"n": np.int64(3), "p": np.float64(0.25), "q": np.float32(0.5)}, tmp_path / "x.json")
    assert read_json(tmp_path / "x.json") == {"n": 3, "p": 0.25, "q": 0.5}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), np.float32("nan")])
def test_a_number_that_is_not_finite_is_refused_with_its_path(
    tmp_path: Path, number: float
) -> None:
    with pytest.raises(DataError, match=r"not written: k1\.curve\[1\]\.gold is (nan|inf), needs a"):
        write_json({"k1": {"curve": [{}, {"gold": number}]}}, tmp_path / "metrics.json")
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"key 2 at k1 is a int, needs text"):
        write_json({"k1": {2: 0.5}}, tmp_path / "metrics.json")


def test_a_value_without_json_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"k1\.path is a PosixPath, needs"):
        write_json({"k1": {"path": tmp_path}}, tmp_path / "metrics.json")


def test_a_full_disk_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.json"
    write_json({"a": 1}, path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DataError, match="the disk is full"):
        write_json({"a": 2}, path)
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metrics.json: no such file; rerun eval"):
        read_json(tmp_path / "metrics.json", written_by="eval")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder, needs a JSON file; rerun eval"):
        read_json(tmp_path, written_by="eval")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b'{\n"a": 1,\n"b": ', "metrics.json:3: not JSON (Expecting value)"),
        (b"\xff{}", "byte 0 is not UTF-8"),
        (b"[1]", "holds a list, needs a JSON object"),
        (b'{"a": NaN}', "NaN is not a finite number"),
        (b'{"a": 1e999}', "'1e999' is not a finite number"),
        (b'{"a": -Infinity}', "-Infinity is not a finite number"),
        (b'{"k": {"a": 1, "a": 2}}', "key 'a' occurs twice"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    assert found in refusal(content, tmp_path / "metrics.json")


class TestRows:
    def test_a_record_is_a_line_and_keys_are_sorted(self, tmp_path: Path) -> None:
        value = {"runs": [{"t": [{"n": 2, "a": None}, {"n": 4}], "m": {}}], "seeds": [9, 10]}
        write_rows(value, tmp_path / "x.json")
        assert (tmp_path / "x.json").read_text() == (
            "{\n"
            ' "runs": [\n'
            "  {\n"
            '   "m": {},\n'
            '   "t": [\n'
            '    {"a": null, "n": 2},\n'
            '    {"n": 4}\n'
            "   ]\n"
            "  }\n"
            " ],\n"
            ' "seeds": [9, 10]\n'
            "}\n"
        )
        assert read_json(tmp_path / "x.json") == value

    def test_what_lies_below_the_depth_is_a_line_whatever_it_holds(self, tmp_path: Path) -> None:
        write_rows({"records": [{"b": {"c": [1]}}, {"b": {}}]}, tmp_path / "x.json", depth=2)
        lines = (tmp_path / "x.json").read_text().splitlines()
        assert lines == ["{", ' "records": [', '  {"b": {"c": [1]}},', '  {"b": {}}', " ]", "}"]

    def test_a_number_that_is_not_finite_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"rows\[0\]\.x is nan"):
            write_rows({"rows": [{"x": float("nan")}]}, tmp_path / "x.json")
        assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("damage", ["emptied", "cut in half", "deleted", "a folder"])
def test_damaged_records_are_one_line(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    write_records([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}], path)
    before = read_records(path, "rlhf")
    assert before == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]
    DAMAGES[damage](path)
    with pytest.raises(DataError, match=r"curve\.json.*; rerun rlhf") as caught:
        read_records(path, "rlhf")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{}", "3", "[3]", "[[]]"])
def test_other_json_is_no_list_of_records(text: str, tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    path.write_text(text)
    with pytest.raises(DataError, match="needs a list of JSON objects; rerun rlhf"):
        read_records(path, "rlhf")
