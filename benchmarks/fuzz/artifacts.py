"""Readers of what stages write: tables, shards, metrics, counts, curves, records of the study."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.fuzz.cases import ROOT, Reader, Target
from benchmarks.fuzz.mutate import as_json
from benchmarks.fuzz.rows import as_parquet

COUNTS: dict[str, dict[str, Any]] = {
    "forecast/forecast.json": {
        "counts": {"labeled_pairs": 40, "validation_pairs": 10, "pairs_dropped_too_long": 1}
        | {"pairs_not_read": 2, "prompts_trimmed": 0},
    },
    "prepared/counts.json": {"rows_in": 9, "rows_out": 6, "dropped_tie": 2, "unread": ["a"]},
    "loop/k1/pairs/summary.json": {"candidates": 64, "candidates_cut": 1, "candidates_too_long": 2}
    | {"pools_without_two": 1, "prompts": 8, "prompts_trimmed": 1, "max_response_tokens": 32}
    | {"response_tokens_for_95_percent": 20},
    "loop/k1/counts.json": {"responses_too_long": 1, "responses_surplus": 0, "candidates": 64}
    | {"rows_other_prompts": 0, "candidates_cut": 1, "prompts": 8, "prompts_trimmed": 0},
    "loop/k1/synthetic/summary.json": {"pairs_selected": 8, "pairs_kept": 6}
    | {"dropped": {"confidence": 2}},
    "loop/k1/rl/metrics.json": {"prompts": 8, "cut_by_limit": 1, "responses": 16}
    | {"prompts_trimmed": 0},
}
"""What `report` counts rows by, by its place in data/."""
TRAINING: dict[str, float | int | str] = {
    "human_pairs": 30,
    "synthetic_pairs": 28,
    "train_examples": 9,
    "dropped_too_long": 1,
    "human_dropped_too_long": 0,
    "synthetic_dropped_too_long": 1,
    "prompts_trimmed": 0,
    "validation_pairs": 5,
    "validation_dropped_too_long": 1,
    "validation_not_read": 0,
    "validation_accuracy": 0.7,
    "validation_calibrated_loss": 0.6,
}


def _tables(folder: Path) -> Target:
    """Every table, as another program writes it: without a checksum, which leaves no case over."""
    from tests.artifacts.test_schemas import VALID
    from westofn.artifacts.catalogue import TABLES

    path = folder / "x.parquet"
    seeds: list[object] = []
    for table in TABLES:
        frame = table.frame(VALID[table.name])
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        seeds += [buffer.getvalue(), {"table": table.name, "columns": VALID[table.name]}]

    def dump(value: object) -> bytes:
        import polars as pl

        columns = value.get("columns") if isinstance(value, dict) else None
        columns = columns if isinstance(columns, dict) else {}
        table = next(
            (t for t in TABLES if isinstance(value, dict) and t.name == value.get("table")),
            TABLES[0],
        )
        series = []
        for name, cells in columns.items():
            dtype = table.columns.get(name)
            try:
                series.append(pl.Series(name, cells, dtype=dtype))
            except Exception:
                series.append(pl.Series("x", [str(cells).encode(errors="replace").decode()]))
        buffer = io.BytesIO()
        try:
            pl.DataFrame(series).write_parquet(buffer)
        except pl.exceptions.PolarsError:
            return as_parquet([{"prompt_id": "p1"}])
        return buffer.getvalue()

    def read(content: bytes) -> object:
        path.write_bytes(content)
        fitting = [table for table in TABLES if all(n.encode() in content for n in table.columns)]
        return max(fitting or TABLES[:1], key=lambda table: len(table.columns)).read(path)

    return Target(seeds, read, dump)


def _sealed_tables(folder: Path) -> Target:
    from tests.artifacts.test_schemas import VALID
    from westofn.artifacts.prompts import PROMPTS

    path = folder / "prompts.parquet"
    frame = PROMPTS.frame(VALID["prompts"])
    PROMPTS.write(frame, path)

    def read(content: bytes) -> object:
        path.write_bytes(content)
        read = PROMPTS.read(path)
        assert read.equals(frame), "a damaged table is read"
        return read

    return Target([path.read_bytes()], read)


def _shards(folder: Path) -> Target:
    from tests.artifacts.test_schemas import VALID
    from westofn.artifacts.prompts import PROMPTS
    from westofn.execution.shards import shard_files

    frame = PROMPTS.frame(VALID["prompts"])

    def read(content: bytes) -> object:
        if content:
            (folder / "00000000.parquet").write_bytes(content)
        [shard] = shard_files(
            [1, 2], lambda _: frame, table=PROMPTS, folder=folder, size=2, description=""
        )
        run = PROMPTS.read(shard)
        assert run.equals(frame), "a damaged shard is used"
        return run

    read(b"")
    return Target([(folder / "00000000.parquet").read_bytes()], read)


def _json_file(folder: Path) -> Target:
    from westofn.artifacts.json_file import read_json

    return _file(folder / "x.json", [{"a": [1, 0.5, None, {"b": "c"}], "d": {}}], read_json)


def _curves(folder: Path) -> Target:
    from westofn.artifacts.curve import CURVE, read_curve

    points = [{"split": "train", "step": n, "loss": 0.7, "accuracy": None} for n in range(3)]
    return _file(folder / CURVE, [points], lambda path: read_curve(path.parent))


def _file(path: Path, seeds: list[Any], read: Callable[[Path], object]) -> Target:
    def write_and_read(content: bytes) -> object:
        path.write_bytes(content)
        return read(path)

    return Target(seeds, write_and_read)


def _study_file(folder: Path) -> Target:
    from westofn.study.records import read_study

    study = json.loads((ROOT / "study.json").read_bytes())
    run = {key: dict(list(value.items())[:1]) for key, value in study["runs"][0].items()}
    small = {"seeds": [9], "runs": [run], "world": study["world"]}
    return _file(folder / "study.json", [small], read_study)


def _study_parts(_: Path) -> Target:
    """What the stages of a seed's study wrote."""
    from westofn.study.parts import Part
    from westofn.study.records import collect

    arm = {"accuracy": 0.7, "human_pairs": 3, "note": "a"}
    part = {"arms": {"hf50": arm}, "tables": {"size": [arm], "policy_pools": [arm]}}
    main = as_json({"k1": arm, "rows": {}})

    def read(content: bytes) -> object:
        files = {"metrics.json": main}
        return collect(lambda path: files.get(path, content), ["k1"], [Part.BASELINES])

    return Target([part], read)


def _study_main(_: Path) -> Target:
    from westofn.study.records import collect

    empty = as_json({"arms": {}, "tables": {}})

    def read(content: bytes) -> object:
        return collect(lambda path: content if path == "metrics.json" else empty, ["k1"], [])

    return Target([{"k1": {"accuracy": 0.7, "accuracy_low": 0.6}, "rows": {}}], read)


def _tuning(_: Path) -> Target:
    """A card, and a summary, of an experiment."""
    from unittest import mock

    from tests.artifacts.test_schemas import VALID
    from westofn.artifacts.preferences import PREFERENCES
    from westofn.tuning import filter as tuning
    from westofn.tuning.grid import KEEP_ALL

    buffer = io.BytesIO()
    PREFERENCES.frame(VALID["preferences"]).write_parquet(buffer)

    def read(content: bytes) -> object:
        def output(_: str, path: str) -> bytes:
            return buffer.getvalue() if path.endswith(".parquet") else content

        with mock.patch.object(tuning, "read_output", output):
            return tuning.read_trial(KEEP_ALL, "abc", "k1")

    return Target([{"training": TRAINING, "pairs_kept": 4}], read)


def _summary(folder: Path) -> Target:
    """`westofn summary`: metrics.json, printed."""
    from unittest import mock

    from rich.console import Console

    from westofn import __main__ as program

    metrics = json.loads((ROOT / "metrics.json").read_bytes())
    printer = Console(file=io.StringIO(), width=80)

    def read(path: Path) -> None:
        with mock.patch.object(program, "console", return_value=printer):
            program.summary(path)

    return _file(folder / "metrics.json", [metrics], read)


def _accounts(folder: Path) -> Target:
    """A file of numbers of rows, of which the report makes its accounts."""
    from unittest import mock

    from westofn.report import rows

    data = folder / "data"
    for name, value in COUNTS.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(as_json(value))
    (data / "autorater").mkdir()
    (data / "autorater" / "none.json").write_bytes(b"{}")

    def read(content: bytes) -> object:
        # The values tell the file: every file has a key of its own.
        marks = {"counts": 0, "rows_in": 1, "pools_without_two": 2, "responses_surplus": 3}
        marks |= {"pairs_selected": 4, "cut_by_limit": 5}
        place = next((place for mark, place in marks.items() if mark.encode() in content), 0)
        path = data / list(COUNTS)[place]
        kept = path.read_bytes()
        path.write_bytes(content)
        try:
            with mock.patch.object(rows, "_facts", return_value=TRAINING):
                return rows.read_accounts(data, ["k1"])
        finally:
            path.write_bytes(kept)

    return Target(list(COUNTS.values()), read)


def _facts_of_prompts(_: Path) -> Target:
    """The table of the world, whose facts are JSON."""
    import polars as pl

    from tests.sources.test_answers import SIZE
    from westofn.artifacts.world import WORLD
    from westofn.sources.world import load_world
    from westofn.sources.world.gold import Gold

    world = load_world(SIZE, 0).world.head(1)

    def read(content: bytes) -> object:
        text = content.decode(errors="replace")
        frame = world.with_columns(facts=pl.lit(text))
        return Gold.from_frame(WORLD.validate(frame, "world"))

    return Target([json.loads(world["facts"][0])], read)


READERS = (
    Reader("tables of other programs", "artifacts/table.py", 10_000, _tables),
    Reader("tables with a checksum", "artifacts/table.py", 90_000, _sealed_tables),
    Reader("shards", "execution/shards.py", 4_000, _shards),
    Reader("JSON of a stage", "artifacts/json_file.py", 90_000, _json_file),
    Reader("curve.json", "artifacts/curve.py", 50_000, _curves),
    Reader("counts and summaries in the report", "report/rows.py", 8_000, _accounts),
    Reader("metrics.json, `summary`", "report/console.py", 1_500, _summary),
    Reader("study.json", "study/records.py", 10_000, _study_file),
    Reader("records of a part of the study", "study/records.py", 40_000, _study_parts),
    Reader("metrics.json of a seed", "study/records.py", 25_000, _study_main),
    Reader("results of `tune filter`", "tuning/filter.py", 10_000, _tuning),
    Reader("facts of the world", "sources/world/gold.py", 5_000, _facts_of_prompts),
)
