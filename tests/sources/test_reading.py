from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from westofn.errors import DataError
from westofn.sources.reading import files_of, rows_of

ROWS = [
    {"prompt": "a, b", "chosen": 'say "x"', "rejected": "two\nlines"},
    {"prompt": "ü", "chosen": "", "rejected": "c"},
]
QUOTED = 'prompt,chosen,rejected\n"a, b","say ""x""","two\nlines"\nü,,c\n'


def values(file: Path) -> list[dict[str, object]]:
    return [dict(row.values) for row in rows_of(file)]


def refusal(file: Path) -> str:
    with pytest.raises(DataError) as caught:
        values(file)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(file))
    return text.removeprefix(str(file))


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "b.json").write_bytes(b"\xef\xbb\xbf" + lines)
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "d.csv").write_text(QUOTED, encoding="utf-8")
    (tmp_path / "e.csv").write_text(QUOTED.replace("\n", "\r\n"), encoding="utf-8-sig", newline="")
    pl.DataFrame(ROWS).write_parquet(tmp_path / "f.parquet")
    (tmp_path / "g.json").write_text(json.dumps(ROWS, indent=2))
    (tmp_path / "h.jsonl").write_text(json.dumps(ROWS))
    (tmp_path / "i.json.gz").write_bytes(gzip.compress(json.dumps({"data": ROWS}).encode()))
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    (tmp_path / "j.json").write_text(json.dumps({"version": 1, "train": ROWS}, indent=1))
    (tmp_path / "k.json").write_text(json.dumps(columns, indent=1))
    with pa.output_stream(str(tmp_path / "l.jsonl.zst"), compression="zstd") as stream:
        stream.write(lines)
    (tmp_path / "m.csv.gz").write_bytes(gzip.compress(QUOTED.encode()))
    (tmp_path / "n.tsv").write_text(QUOTED.replace(",", "\t").replace("a\t b", "a, b"))
    semicolons = QUOTED.replace(",", ";").replace("a; b", "a, b")
    (tmp_path / "o.csv").write_text(semicolons)
    (tmp_path / "p.csv").write_text(f"sep=;\n{semicolons}")
    index = QUOTED.replace("prompt", ",prompt").replace('"a, b', '0,"a, b').replace("ü", "1,ü")
    (tmp_path / "q.csv").write_text(index)
    files = files_of(tmp_path, "prepare.path")
    assert len(files) == 17
    for file in files:
        found = values(file)
        found[0]["rejected"] = str(found[0]["rejected"]).replace("\r", "")
        assert found == ROWS, file


def test_a_folder_that_datasets_saved_is_one_file(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved" / "train"))
    assert files_of(tmp_path, "prepare.path") == [tmp_path / "saved" / "train"]
    assert values(tmp_path / "saved" / "train") == ROWS
    assert files_of(tmp_path / "saved" / "train", "prepare.path") == [tmp_path / "saved" / "train"]


def test_places_of_csv_rows_are_lines_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(QUOTED, encoding="utf-8")
    assert [row.where for row in rows_of(file)] == [f"{file}:2", f"{file}:4"]


def test_a_cell_of_csv_may_be_longer_than_the_library_allows(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("prompt\n" + "a" * 200_000 + "\n")
    assert len(str(values(file)[0]["prompt"])) == 200_000


@pytest.mark.parametrize(
    ("content", "needed"),
    [
        (b"a,b\n1,2\n1,2,3\n", ":3: the row has 3 cells, needs 2 ('a, b'); put texts with commas"),
        (b'a,b\n1,2\n"x"y,2\n', ":3: not CSV"),
        (b'a,b\n1,2\n1,"2\n', ":3: not CSV"),
        (b"a,a\n1,2\n", ":1: the header is 'a, a'; needs distinct names"),
        (b"a,b\n1,\xe9\n", "byte b'\\xe9' is not UTF-8"),
        (b"a,b\n", ": the file has no rows"),
        (b"", ": the file has no rows"),
    ],
)
def test_a_bad_csv_is_refused_with_its_line(tmp_path: Path, content: bytes, needed: str) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(content)
    assert needed in refusal(file)


def test_a_file_is_not_held_in_memory(tmp_path: Path) -> None:
    rows = [{"prompt": f"{number} " + "x" * 2000} for number in range(4000)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "b.csv").write_text("prompt\n" + "".join(f"{row['prompt']}\n" for row in rows))
    pl.DataFrame(rows).write_parquet(tmp_path / "c.parquet", row_group_size=1000)
    next(rows_of(tmp_path / "c.parquet"))  # what the import of the library takes
    for file in files_of(tmp_path, "prepare.path"):
        tracemalloc.start()
        count = sum(1 for _ in rows_of(file))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 4000
        assert peak < len(lines) / 2, file


def test_nan_in_an_array_is_a_missing_cell(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text('[\n {"instruction": "a", "input": NaN},\n {"instruction": "b"}\n]')
    assert [dict(row.values) for row in rows_of(file)] == [
        {"instruction": "a", "input": None},
        {"instruction": "b"},
    ]
    file.write_text('[\n {"score": Infinity}\n]')
    with pytest.raises(DataError, match="not JSON"):
        list(rows_of(file))


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_has_not_are_refused(tmp_path: Path, constant: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"prompt": "a"}}\n{{"prompt": "a", "n": {constant}}}\n')
    with pytest.raises(DataError) as caught:
        list(rows_of(path))
    assert f"{path}:2: not JSON ({constant} is not a finite number)" in str(caught.value)


def test_a_blank_line_with_a_byte_order_mark_is_blank(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'\xef\xbb\xbf\n{"prompt": "a"}\n')
    assert [row.where for row in rows_of(path)] == [f"{path}:2"]


def test_a_malformed_row_can_be_kept_with_its_fault(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n{"n": \n[2]\n{"n": 3}\n')
    (tmp_path / "b.csv").write_text("n\n1\n2,2\n3\n")
    (tmp_path / "c.jsonl").write_text('{"n": \n{"n": 1}\n')
    rows = {
        name: list(rows_of(tmp_path / name, keep_faulty=True))
        for name in ("a.jsonl", "b.csv", "c.jsonl")
    }
    assert [bool(row.fault) for row in rows["a.jsonl"]] == [False, True, True, False]
    assert [bool(row.fault) for row in rows["b.csv"]] == [False, True, False]
    assert [bool(row.fault) for row in rows["c.jsonl"]] == [True, False]
    assert "a.jsonl:2: not JSON" in str(rows["a.jsonl"][1].fault)


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".csv.gz", ".jsonl.zst"])
def test_a_truncated_stream_is_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"x{suffix}"
    content = b"prompt\n" + b"".join(b'"%d"\n' % (number * 7919) for number in range(5000))
    if "json" in suffix:
        content = b"".join(b'{"prompt": "%d"}\n' % (number * 7919) for number in range(5000))
    with pa.output_stream(str(file), compression="zstd" if "zst" in suffix else "gzip") as stream:
        stream.write(content)
    file.write_bytes(file.read_bytes()[:-9])
    assert "copy the file again" in refusal(file)


def test_a_missing_value_of_csv_is_null_unless_told_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("a,b\nNaN,nan\n")
    assert values(file) == [{"a": None, "b": None}]
    assert [dict(r.values) for r in rows_of(file, nan_is_missing=False)] == [
        {"a": "NaN", "b": "nan"}
    ]


def test_an_array_of_other_things_is_refused_with_its_row(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('[{"a": 1}, 2]')
    assert refusal(file) == (
        ": row 2: an array entry is a int, needs objects: mend or remove the entry"
    )


PANDAS = [{"prompt": "a", "chosen": "b"}, {"prompt": "c", "chosen": "d"}]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"prompt": {"0": "a", "1": "c"}, "chosen": {"0": "b", "1": "d"}}),
        json.dumps({"10": PANDAS[0], "2": PANDAS[1]}),
        json.dumps({"columns": ["prompt", "chosen"], "index": [0, 1],
                    "data": [["a", "b"], ["c", "d"]]}),
        json.dumps({"train": PANDAS[:1], "test": PANDAS[1:]}, indent=1),
        "\n".join(json.dumps(row, indent=2) for row in PANDAS),
        "\r".join(json.dumps(row) for row in PANDAS),
    ],
)  # fmt: skip
def test_tables_and_objects_with_line_breaks_are_read(content: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(content, newline="")
    assert values(file) == PANDAS


def test_a_row_of_numbered_texts_is_no_table_of_a_line(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"a": {"0": "x"}}\n{"a": {"0": "y"}}\n')
    assert values(file) == [{"a": {"0": "x"}}, {"a": {"0": "y"}}]


@pytest.mark.parametrize(
    ("content", "needed"),
    [
        ('{"a": 1, "a": 2}', ":1: key 'a' is there twice"),
        ('{"a": [{"b": 1, "b": 1}]}', ":1: key 'b' is there twice"),
        ('[\n {"a": 1, "a": 2}\n]', ": key 'a' is there twice"),
        ('[\n {"a": 1},\n]', ": not JSON (Expecting value, line 3, column 1)"),
        ('{"a": "\\ud800"}', ":1: column a holds half a surrogate pair"),
        ('{"\\udfff": 1}', ":1: column '\\udfff' holds half a surrogate pair"),
        ('[{"a": [{"\\udfff": 1}]}]', ": row 1: column a holds half a surrogate pair"),
        (f'{{"a": {"[" * 70}{"]" * 70}}}', ":1: column a has more than 64 nested lists"),
        ("[]", ": the file has no rows"),
    ],
)
def test_what_no_table_can_hold_is_refused(content: str, needed: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    assert refusal(file).startswith(needed)


def test_files_of_spreadsheets_have_empty_columns_and_other_delimiters(tmp_path: Path) -> None:
    rows = [{"a": "1", "b": "2"}]
    for number, content in enumerate(("a,b,,\n1,2,,\n", "\n\na,b\n1,2\n", "a|b\n1|2\n")):
        file = tmp_path / f"{number}.CSV"
        file.write_text(content)
        assert values(file) == rows
    file.write_text("a,b,,\n1,2,,3\n")
    assert "a cell stands in a column without a name" in refusal(file)


def test_the_case_of_a_suffix_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "A.JSONL.GZ").write_bytes(gzip.compress(b'{"a": 1}'))
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "B.Parquet")
    assert [values(file) for file in files_of(tmp_path, "x")] == [[{"a": 1}]] * 2


def test_equal_names_in_parquet_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    pa.parquet.write_table(pa.table([["a"], ["b"]], names=["chosen", "chosen"]), file)
    assert "needs distinct names" in refusal(file)


def test_what_is_neither_a_file_nor_a_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "circle.jsonl").symlink_to(tmp_path / "circle.jsonl")
    for path, needed in (
        (tmp_path / "pipe.jsonl", "a pipe; needs a file or folder"),
        (Path("/dev/zero"), "a device; needs a file or folder"),
        (tmp_path / "circle.jsonl", "a link that leads back to itself"),
        (tmp_path / f"{'x' * 300}.jsonl", "File name too long"),
        (Path(), "prepare.path is empty or the current folder"),
    ):
        with pytest.raises(DataError, match=needed):
            files_of(path, "prepare.path")
    with pytest.raises(DataError, match="a pipe; needs a file or folder"):
        files_of(tmp_path, "prepare.path")
