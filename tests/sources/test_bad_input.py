"""Files and rows that cannot be read: each is one line with its place."""

from __future__ import annotations

import gzip
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pyarrow import parquet

from westofn.errors import DataError
from westofn.sources.expanding import ranked_replies_of_messages
from westofn.sources.inspecting import InspectOptions, inspect_files
from westofn.sources.reading import Row, Unreadable, files_of, rows_of

DIGITS = "9" * 400
GOOD = '{"a": 0}\n'

CONTENTS: dict[str, tuple[str, bytes, str]] = {
    # Nothing is lost when JSON is read.
    "a key twice": ("a.jsonl", b'{"a": 1, "a": 2}\n', "a.jsonl:1: key 'a' is there twice"),
    "a key twice below": (
        "a.jsonl",
        b'{"a": 0}\n{"b": {"c": 1, "c": 2}}\n',
        "a.jsonl:2: key 'c' is there twice, of which one value would be lost",
    ),
    "a key twice in a message": (
        "a.jsonl",
        b'{"m": [{"role": "user", "role": "system"}]}\n',
        "a.jsonl:1: key 'role' is there twice",
    ),
    "a key twice in an array": ("a.json", b'[{"a": 1, "a": 2}]', "a.json: key 'a' is there twice"),
    "a key twice over lines": (
        "a.json",
        b'[\n {"a": 1,\n  "a": 2}\n]',
        "a.json: key 'a' is there twice",
    ),
    "a key twice in a table": (
        "a.json",
        b'{"data": [{"a": 1, "a": 2}]}',
        "key 'a' is there twice",
    ),
    "a key twice, packed": (
        "a.jsonl.gz",
        gzip.compress(b'{"a": 1, "a": 2}\n'),
        "a.jsonl.gz:1: key 'a' is there twice",
    ),
    "400 digits": ("a.jsonl", f'{{"a": {DIGITS}}}\n'.encode(), "a.jsonl:1: a number of 400 digits"),
    "400 digits below zero": (
        "a.jsonl",
        f'{{"a": -{DIGITS}}}\n'.encode(),
        "a.jsonl:1: a number of 401 digits",
    ),
    "5,000 digits": (
        "a.jsonl",
        f'{{"a": {"9" * 5000}}}\n'.encode(),
        "a.jsonl:1: a number of 5000 digits",
    ),
    "400 digits in an array": (
        "a.json",
        f'[{{"a": {DIGITS}}}]'.encode(),
        "a.json: a number of 400 digits",
    ),
    "1e999": ("a.jsonl", b'{"a": 1e999}\n', "a.jsonl:1: '1e999' is beyond the largest number"),
    "-1e999": ("a.jsonl", b'{"a": [-1e999]}\n', "a.jsonl:1: '-1e999' is beyond the largest"),
    "infinity": ("a.jsonl", b'{"a": Infinity}\n', "a.jsonl:1: not JSON (Infinity"),
    "half a line": ("a.jsonl", b'{"a": 0}\n{"a": ', "a.jsonl:2: not JSON"),
    "no UTF-8": ("a.jsonl", b'{"a": 0}\n{"a": "\xff"}\n', "a.jsonl:2: byte 7 is not UTF-8"),
    "a list a line": ("a.jsonl", b'{"a": 0}\n[1]\n', "a.jsonl:2: the line is a list"),
    "a number a line": ("a.jsonl", b'{"a": 0}\n5\n', "a.jsonl:2: the line is a int"),
    "null a line": ("a.jsonl", b'{"a": 0}\nnull\n', "a.jsonl:2: the line is a null"),
    "brackets without end": ("a.jsonl", b'{"a": 0}\n' + b"[" * 10**5, "a.jsonl:2: not JSON"),
    "half a gzip stream": ("a.jsonl.gz", gzip.compress(b"{}\n" * 999)[:-9], "truncated or corrupt"),
    "no gzip stream": ("a.jsonl.gz", b"{}\n", "a.jsonl.gz: the gzip stream is truncated"),
    "no zstd stream": ("a.jsonl.zst", b"{}\n", "a.jsonl.zst"),
    "nothing": ("a.jsonl", b"", "a.jsonl: the file has no rows"),
    "white space": ("a.jsonl", b"\n \n", "a.jsonl: the file has no rows"),
    "an empty array": ("a.json", b"[]", "a.json: the file has no rows"),
    "an array of numbers": ("a.json", b"[1]", "a.json: row 1: an array entry is a int"),
    "no Parquet": ("a.parquet", b"PAR1", "a.parquet: empty, truncated or not Parquet"),
    "an empty Parquet file": ("a.parquet", b"", "a.parquet: empty, truncated or not Parquet"),
    "cells too many": ("a.csv", b"a,b\n1,2,3\n", "a.csv:2: the row has 3 cells, needs 2"),
    "a header twice": ("a.csv", b"a,a\n1,2\n", "a.csv:1: the header is 'a, a'; needs distinct"),
    "a quote without end": ("a.csv", b'a,b\n"1,2\n', "a.csv:2: not CSV"),
    "CSV without UTF-8": ("a.csv", b"a,b\n\xff,2\n", "is not UTF-8"),
    "a header alone": ("a.csv", b"a,b\n", "a.csv: the file has no rows"),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_a_file_that_cannot_be_read_whole_is_one_line(case: str, tmp_path: Path) -> None:
    name, content, needed = CONTENTS[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(rows_of(tmp_path / name))
    assert needed in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_line_that_would_lose_a_value_costs_no_other_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1, "a": 2}\n' + GOOD + f'{{"a": {DIGITS}}}\n' + GOOD)
    rows = list(rows_of(path, keep_faulty=True))
    assert [row.fault is None for row in rows] == [False, True, False, True]


def test_the_longest_number_that_is_read_is_a_float_too(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"a": {"9" * 308}, "b": 1.7e308}}\n')
    (row,) = rows_of(tmp_path / "a.jsonl")
    assert float(str(row.values["a"])) < float("inf")
    assert row.values["b"] == 1.7e308


@pytest.fixture
def odd_parquet(tmp_path: Path) -> Path:
    """Two good rows beside columns whose values Python cannot hold."""
    far = pa.array([3 * 10**14] * 2, pa.int64()).cast(pa.timestamp("ms"))  # the year 11476
    offsets = pa.py_buffer(np.array([0, 2, 4], np.int32).tobytes())
    torn = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"\xff\xfeok")])
    columns = {
        "prompt": ["p", "q"],
        "chosen": ["a", "b"],
        "rejected": ["c", "d"],
        "written": far,
        "parsed": pa.array([1, None], pa.timestamp("ns")),
        "raw": torn,
        "nested": pa.ListArray.from_arrays([0, 1, 2], torn),
    }
    path = tmp_path / "odd.parquet"
    parquet.write_table(pa.table(columns), path)
    return path


def test_a_cell_that_nobody_reads_breaks_no_row(odd_parquet: Path) -> None:
    rows = [dict(row.values) for row in rows_of(odd_parquet)]
    assert [row["prompt"] for row in rows] == ["p", "q"]
    assert all(isinstance(row["written"], Unreadable) for row in rows)
    assert [isinstance(row["raw"], Unreadable) for row in rows] == [True, False]
    assert rows[1]["raw"] == "ok"
    assert [isinstance(row["nested"], Unreadable) for row in rows] == [True, False]
    (report,) = inspect_files([odd_parquet], InspectOptions()).files
    assert report.counts["rows_in"] == 2


def test_a_cell_that_is_read_and_cannot_be_is_named_with_its_row(odd_parquet: Path) -> None:
    table = parquet.read_table(odd_parquet)
    read = table.select(["prompt", "rejected"]).append_column("chosen", table["raw"])
    parquet.write_table(pa.concat_tables([read.slice(1), read]), odd_parquet)
    needed = r"odd\.parquet: row 2: column chosen is a Unreadable \(<'utf-8' codec"
    with pytest.raises(DataError, match=needed):
        inspect_files([odd_parquet], InspectOptions())


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def _linked(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


SPECIAL: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pipe": (_pipe, "a pipe"),
    "a socket": (_socket, "a socket"),
    "a link to a device": (_linked("/dev/zero"), "a device"),
    "a link to itself": (_linked("s.jsonl"), "a link that leads back to itself"),
    "a link to nothing": (_linked("gone.jsonl"), "a link to a file that is missing"),
}


@pytest.mark.parametrize("of_folder", [False, True])
@pytest.mark.parametrize("case", SPECIAL)
def test_what_is_no_file_is_refused_by_name(case: str, of_folder: bool, tmp_path: Path) -> None:
    make, needed = SPECIAL[case]
    (tmp_path / "good.jsonl").write_text(GOOD)
    make(tmp_path / "s.jsonl")
    with pytest.raises(DataError, match=rf"s\.jsonl: {needed}; needs .*: mend prepare\.path"):
        files_of(tmp_path if of_folder else tmp_path / "s.jsonl", "prepare.path")


@pytest.mark.parametrize("target", [".", "..", "../..", "../b"])
def test_links_of_folders_that_lead_back_are_refused(target: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "d" / name).mkdir(parents=True)
        (tmp_path / "d" / name / "x.jsonl").write_text(GOOD)
    (tmp_path / "d/a/link").symlink_to(target)
    (tmp_path / "d/b/link").symlink_to("../a")
    with pytest.raises(DataError, match="link: a link to a folder that holds it"):
        files_of(tmp_path / "d", "prepare.path")


def test_a_linked_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.jsonl").write_text(GOOD)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/link").symlink_to("../elsewhere")
    assert files_of(tmp_path / "d", "prepare.path") == [tmp_path / "d/link/x.jsonl"]


def _messages() -> Iterator[Row]:
    def row(number: int, name: object, parent: object, role: str) -> Row:
        values = {"message_id": name, "parent_id": parent, "role": role, "text": "t", "rank": 0}
        return Row(f"m:{number}", values)

    yield row(1, "q", None, "prompter")
    yield row(2, ["r"], "q", "assistant")
    yield row(3, "r", {"q": 1}, "assistant")
    yield row(4, "q", "q", "prompter")  # its own parent: a tree without end
    yield row(5, "s", "q", "assistant")
    yield row(6, "t", "q", "assistant")


def test_messages_that_have_no_place_in_a_tree_cost_no_other() -> None:
    rows = list(ranked_replies_of_messages(_messages()))
    faults = [str(row.fault) for row in rows if row.fault]
    assert faults == [
        "m:2: column message_id is a list (['r']), needs text: mend or remove the message",
        "m:3: column parent_id is a dict ({'q': 1}), needs text: mend or remove the message",
        "m:4: message_id 'q' is there twice; needs one message an id: remove the other",
    ]
    (ranked,) = [row for row in rows if not row.fault]
    assert ranked.values["responses"] == ["t", "t"]


def test_json_that_westofn_wrote_is_read_as_it_was(tmp_path: Path) -> None:
    values = {"a": [1, -2, 0.5, 1e-300, None, True], "b": {"c": "ä\u2028"}, "d": 10**200}
    (tmp_path / "a.jsonl").write_text(json.dumps(values) + "\n")
    (row,) = rows_of(tmp_path / "a.jsonl")
    assert row.values == values
