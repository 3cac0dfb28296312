"""Readers of rows that users give: preferences, demonstrations, pools, answers, rows to score."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from benchmarks.fuzz.cases import Reader, Target
from benchmarks.fuzz.mutate import TEXT, as_json, as_lines
from tests.sources.known_rows import OTHER_FORMS, SAMPLES, rows_of_sample

Rows = list[dict[str, Any]]
DIALOGUE = "\n\nHuman: a\n\nAssistant:"
FORMS: list[Rows] = [
    *(rows_of_sample(sample) for sample in SAMPLES.values()),
    *(rows_of_sample(sample) for _, sample in OTHER_FORMS.values()),
    [{"Prompt": "Which?", "Response A": "a b", "Response B": TEXT, "Winner": "B"}],
    [{"chosen": f"{DIALOGUE} {n}", "rejected": f"{DIALOGUE} x", "note": TEXT} for n in range(2)],
    [{"prompt": "Which?", "chosen": {"text": "a", "score": 2}, "rejected": {"text": "b"}}],
    [{"prompt": "Which?", "responses": ["a", "b"], "scores": [1, 2], "system": "s"}],
]
PLAIN: list[Rows] = [
    [{"prompt": f"Which {n}?", "chosen": f"a {n}", "rejected": f"b {n}"} for n in range(4)],
    [{"question": "q", "answer_a": "x", "answer_b": "y", "preferred": "a"}] * 2,
    [{"prompt": "q", "responses": '["x", "y"]', "scores": "[1, 2]"}],
    [{"prompt": 'q, with "quotes"\nand lines', "chosen": "x", "rejected": "y", "id": "1"}],
]
NAMES = sorted(
    {name for rows in FORMS for row in rows for name in row}
    | {"system", "history", "context", "tools", "images", "messages", "id", "", " ", "a.*", "*"}
)
DEMONSTRATIONS: list[Rows] = [
    [{"prompt": "Which?", "response": TEXT}] * 2,
    [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}],
    [{"instruction": "q", "input": "i", "output": "a", "quality": 1}],
]
POOLS: list[Rows] = [
    [{"prompt": f"Which {n}?", "responses": ["a", "b", "a"]} for n in range(3)],
    [{"prompt_id": "p1", "responses": ["a", "b"]}, {"prompt_id": "p2", "responses": '["a"]'}],
]
SCORED: list[Rows] = [
    [{"prompt": "q", "response": "a"}, {"prompt": "q", "response": "b"}],
    [{"prompt": "q", "responses": ["a", "b"]}],
    [{"prompt": "q", "chosen": "a", "rejected": "b"}],
    [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}],
    [{"chosen": f"{DIALOGUE} {n}", "rejected": f"{DIALOGUE} b"} for n in range(2)],
]


def as_csv(rows: object) -> bytes:
    """A CSV file of rows; cells that hold no text are JSON."""
    listed = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    names = list(dict.fromkeys(name for row in listed for name in row))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    for row in listed:
        cells = (row.get(name) for name in names)
        writer.writerow([cell if isinstance(cell, str) else json.dumps(cell) for cell in cells])
    return text.getvalue().encode("utf-8", "surrogatepass")


def as_parquet(rows: object) -> bytes:
    """A Parquet file of rows; a column of values without a common type is text."""
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    listed = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    columns = {}
    for name in dict.fromkeys(name.encode(errors="replace") for row in listed for name in row):
        cells = [row.get(name.decode()) for row in listed]
        try:
            columns[name.decode()] = pa.array(cells)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            columns[name.decode()] = pa.array([json.dumps(cell) for cell in cells])
    buffer = io.BytesIO()
    try:
        parquet.write_table(pa.table(columns), buffer)
    except pa.ArrowException:  # a type that Parquet does not have
        return b"PAR1"
    return buffer.getvalue()


def _pairs(bad_rows: Literal["refuse", "drop"]) -> Callable[[Path], Target]:
    def make(_: Path) -> Target:
        from westofn.sources.collect import Part, Reading, collect_pairs
        from westofn.sources.json_lines import json_rows
        from westofn.sources.reading import Row

        reading = Reading(bad_rows=bad_rows, bad_rows_limit=1.0)

        def read(content: bytes) -> object:
            lines = json_rows(io.BytesIO(content), "x.jsonl", keep_faulty=bad_rows == "drop")
            rows = (Row(line.where, line.values, line.fault) for line in lines)
            return collect_pairs([Part("", rows)], reading, "x.jsonl")

        return Target(FORMS, read, as_lines, NAMES)

    return make


def _json_pairs(folder: Path) -> Target:
    columns = {name: [row[name] for row in PLAIN[0]] for name in PLAIN[0][0]}
    numbered = {name: {str(n): text for n, text in enumerate(columns[name])} for name in columns}
    split = {"columns": [*columns], "data": [[*row.values()] for row in PLAIN[0]]}
    seeds = [*PLAIN, {"data": PLAIN[0]}, numbered, split]
    return _file_of_pairs(folder / "x.json", seeds, as_json)


def _csv_pairs(folder: Path) -> Target:
    return _file_of_pairs(folder / "x.csv", PLAIN, as_csv)


def _parquet_pairs(folder: Path) -> Target:
    return _file_of_pairs(folder / "x.parquet", [*PLAIN, *map(as_parquet, PLAIN)], as_parquet)


def _file_of_pairs(path: Path, seeds: list[Any], dump: Callable[[object], bytes]) -> Target:
    from westofn.sources.collect import Part, Reading, collect_pairs
    from westofn.sources.reading import rows_of

    def read(content: bytes) -> object:
        path.write_bytes(content)
        return collect_pairs([Part("", rows_of(path))], Reading(), path)

    return Target(seeds, read, dump, NAMES)


def _packed_pairs(folder: Path) -> Target:
    import gzip

    import pyarrow as pa

    from westofn.sources.collect import Part, Reading, collect_pairs
    from westofn.sources.reading import rows_of

    plain = as_lines(PLAIN[0])
    seeds = [gzip.compress(plain), pa.compress(plain, codec="zstd", asbytes=True)]

    def read(content: bytes) -> object:
        path = folder / ("x.jsonl.gz" if content[:1] == b"\x1f" else "x.jsonl.zst")
        path.write_bytes(content)
        return collect_pairs([Part("", rows_of(path))], Reading(), path)

    return Target(seeds, read)


def _inspected(folder: Path) -> Target:
    """`westofn inspect`, of preferences with bad rows refused and dropped."""
    from westofn.sources.inspect_report import to_json
    from westofn.sources.inspecting import InspectOptions, inspect_files

    path = folder / "x.jsonl"

    def read(content: bytes) -> object:
        path.write_bytes(content)
        bad_rows: Literal["refuse", "drop"] = "drop" if len(content) % 2 else "refuse"
        return to_json(inspect_files([path], InspectOptions(bad_rows=bad_rows)), {})

    return Target([*FORMS, *DEMONSTRATIONS], read, as_lines, NAMES)


def _of_rows(seeds: list[Rows], convert: Callable[[Iterable[Any]], object]) -> Target:
    """A reader of the rows of JSON lines."""
    from westofn.sources.json_lines import json_rows
    from westofn.sources.reading import Row

    def read(content: bytes) -> object:
        lines = json_rows(io.BytesIO(content), "x.jsonl")
        return convert(Row(line.where, line.values, line.fault) for line in lines)

    return Target(seeds, read, as_lines, NAMES)


def _demonstrations(_: Path) -> Target:
    from westofn.sources.formats.demonstrations import demonstration, prompt_of

    return _of_rows(
        DEMONSTRATIONS, lambda rows: [(demonstration(row), prompt_of(row)) for row in rows]
    )


def _pools(_: Path) -> Target:
    from westofn.sources.pool_files import is_pool, pools_of

    def convert(rows: Iterable[Any]) -> object:
        listed = list(rows)
        return [is_pool(row) for row in listed], pools_of(listed, {}, {})

    return _of_rows(POOLS, convert)


def _answers(folder: Path) -> Target:
    from tests.sources.test_answers import SIZE, row, unlabeled
    from westofn.sources.answers import add_answers
    from westofn.sources.world import load_world

    world = load_world(SIZE, 0)
    path = folder / "answers.jsonl"
    prompts = unlabeled(world)[:3]
    seeds = [[row(prompts[0]), row(prompts[1], "b"), row(prompts[2], "tie")], [row(prompts[0])]]

    def read(content: bytes) -> object:
        path.write_bytes(content)
        return add_answers(world, path)

    return Target(seeds, read, as_lines, ["id", "lable"])


def _scored(_: Path) -> Target:
    from westofn.scoring.rows import Faults, read_rows
    from westofn.sources.columns import Columns
    from westofn.sources.json_lines import json_rows

    def read(content: bytes) -> object:
        for dropped in (Faults(), None):
            lines = json_rows(io.BytesIO(content), "x", keep_faulty=dropped is not None)
            rows = list(read_rows(lines, "x", given=Columns(), head=4, dropped=dropped))
        return rows

    return Target(SCORED, read, as_lines, [*NAMES, "reward", "margin"])


READERS = (
    Reader("preferences, JSON lines", "sources/collect.py", 40_000, _pairs("refuse")),
    Reader("preferences, bad rows dropped", "sources/collect.py", 30_000, _pairs("drop")),
    Reader("preferences, JSON tables", "sources/json_lines.py", 15_000, _json_pairs),
    Reader("preferences, CSV", "sources/reading.py", 15_000, _csv_pairs),
    Reader("preferences, Parquet", "sources/reading.py", 10_000, _parquet_pairs),
    Reader("preferences, packed", "sources/json_lines.py", 10_000, _packed_pairs),
    Reader("`inspect`", "sources/inspecting.py", 10_000, _inspected),
    Reader("demonstrations, prompts", "sources/formats/demonstrations.py", 20_000, _demonstrations),
    Reader("pools", "sources/pool_files.py", 20_000, _pools),
    Reader("label answers", "sources/answers.py", 5_000, _answers),
    Reader("rows to score", "scoring/rows.py", 20_000, _scored),
)
