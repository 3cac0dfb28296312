"""Shards: what is committed stays, whenever the process dies, and the bytes do not tell."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from westofn.artifacts.prompts import PROMPTS
from westofn.errors import DataError
from westofn.execution.shards import run_shards

NAMES = [f"p{row:02d}" for row in range(10)]
# Works on two prompts a shard and notes each down; dies by kill −9 where it is told to.
WORKER = """
import os, signal, sys
from pathlib import Path
import polars as pl
from westofn.artifacts import atomic
from westofn.artifacts.prompts import PROMPTS
from westofn.execution.shards import run_shards

folder, log, where = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def die(place):
    if where == place:
        os.kill(os.getpid(), signal.SIGKILL)

def work(names):
    with log.open("a") as handle:
        handle.write(names[0] + "\\n")
    if names[0] == "p06":
        die("while working")
    return pl.DataFrame({"prompt_id": names, "prompt": [n * 3 for n in names],
                         "split": ["unlabeled"] * len(names)})

replace = os.replace
def dying_replace(source, target):
    if str(target).endswith("00000006.parquet"):
        die("before the rename")
    replace(source, target)
    if str(target).endswith("00000006.parquet"):
        die("after the rename")
atomic.os.replace = dying_replace

frame = run_shards([f"p{row:02d}" for row in range(10)], work, table=PROMPTS, folder=folder,
                   size=2, description="test")
print(frame.height)
"""


def _work(names: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "prompt_id": list(names),
            "prompt": [name * 3 for name in names],
            "split": ["unlabeled"] * len(names),
        }
    )


def _run(folder: Path, work: object = _work, size: int = 2) -> pl.DataFrame:
    return run_shards(
        NAMES,
        work,  # type: ignore[arg-type]
        table=PROMPTS,
        folder=folder,
        size=size,
        description="test",
    )


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


@pytest.mark.parametrize(
    ("where", "again"),
    [
        ("while working", ["p06", "p08"]),
        ("before the rename", ["p06", "p08"]),
        ("after the rename", ["p08"]),
    ],
)
def test_after_kill_9_only_what_is_missing_runs_and_the_bytes_are_the_same(
    where: str, again: list[str], tmp_path: Path
) -> None:
    expected = _run(tmp_path / "whole")
    folder, log = tmp_path / "killed", tmp_path / "log"

    def start(place: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WORKER, str(folder), str(log), place]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert start(where).returncode == -signal.SIGKILL
    assert log.read_text().split() == ["p00", "p02", "p04", "p06"]
    log.unlink()
    done = start("nowhere")
    assert (done.returncode, done.stdout.strip()) == (0, "10"), done.stderr
    assert log.read_text().split() == again
    assert _bytes(folder) == _bytes(tmp_path / "whole")
    assert pl.concat([PROMPTS.read(path) for path in sorted(folder.glob("*.parquet"))]).equals(
        expected
    )


def test_shards_end_to_end_are_the_work_on_all_items(tmp_path: Path) -> None:
    for size in (1, 3, 10, 64):
        folder = tmp_path / str(size)
        assert _run(folder, size=size).equals(_work(NAMES))
        assert len(_bytes(folder)) == -(-10 // size)


def test_a_failure_keeps_the_shards_before_it(tmp_path: Path) -> None:
    def fails_late(names: Sequence[str]) -> pl.DataFrame:
        if names[0] == "p04":
            raise RuntimeError("lost")
        return _work(names)

    with pytest.raises(RuntimeError, match="lost"):
        _run(tmp_path, fails_late)
    assert list(_bytes(tmp_path)) == ["00000000.parquet", "00000002.parquet"]


def test_rows_against_the_schema_are_never_committed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="00000000"):
        _run(tmp_path, lambda names: _work(names).with_columns(split=pl.lit("nowhere")))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_shard_is_named_and_not_used(tmp_path: Path) -> None:
    _run(tmp_path)
    shard = tmp_path / "00000004.parquet"
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"00000004\.parquet: truncated"):
        _run(tmp_path)
