"""Shards: what is committed stays, whenever the process dies, and the bytes do not tell."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pytest

from tests.damages import DAMAGES, warnings
from westofn.artifacts.prompts import PROMPTS
from westofn.errors import DataError
from westofn.execution.job import Job
from westofn.execution.shards import group_files, shard_files

NAMES = [f"p{row:02d}" for row in range(10)]
# Works on two prompts a shard and notes each down; dies by kill −9 where it is told to.
WORKER = """
import os, signal, sys
from pathlib import Path
import polars as pl
from westofn.artifacts import atomic
from westofn.artifacts.prompts import PROMPTS
from westofn.execution.shards import shard_files

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

files = shard_files([f"p{row:02d}" for row in range(10)], work, table=PROMPTS, folder=folder,
                    size=2, description="test")
print(len(files))
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
    files = shard_files(
        NAMES,
        work,  # type: ignore[arg-type]
        table=PROMPTS,
        folder=folder,
        size=size,
        description="test",
    )
    return pl.concat(map(PROMPTS.read, files))


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
    assert (done.returncode, done.stdout.strip()) == (0, "5"), done.stderr
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


def test_a_group_is_read_when_its_turn_comes(tmp_path: Path) -> None:
    events: list[str] = []

    def groups() -> Iterator[list[str]]:
        for start in range(0, 10, 2):
            events.append(f"read {NAMES[start]}")
            yield NAMES[start : start + 2]

    def work(names: Sequence[str]) -> pl.DataFrame:
        events.append(f"work {names[0]}")
        return _work(names)

    def run() -> list[Path]:
        return group_files(
            groups(), work, table=PROMPTS, folder=tmp_path, total=None, description="test"
        )

    files = run()
    assert events == [f"{what} {name}" for name in NAMES[::2] for what in ("read", "work")]
    assert pl.concat(map(PROMPTS.read, files)).equals(_work(NAMES))
    events.clear()
    files[1].unlink()
    assert run() == files
    assert [event for event in events if event.startswith("work")] == ["work p02"]


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


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_costs_one_line_and_is_computed_again(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = _run(tmp_path)
    before, worked = _bytes(tmp_path), []

    def work(names: Sequence[str]) -> pl.DataFrame:
        worked.append(names[0])
        return _work(names)

    DAMAGES[damage](tmp_path / "00000004.parquet")
    assert warnings(capsys) == []
    assert _run(tmp_path, work).equals(expected)
    assert worked == ["p04"]
    assert _bytes(tmp_path) == before
    lines = warnings(capsys)
    if damage == "deleted":  # as if it had not been reached
        assert lines == []
    else:
        (line,) = lines
        assert line.startswith("WARNING: test: damaged and removed: ")
        assert "00000004.parquet: " in line
        assert line.endswith("; this shard is computed again")


def test_every_flipped_byte_of_a_shard_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = _run(tmp_path, size=10)
    path = tmp_path / "00000000.parquet"
    content = path.read_bytes()
    for place in range(0, len(content), 5):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        assert _run(tmp_path, size=10).equals(expected)
    assert len(warnings(capsys)) > len(content) // 5 - 20  # the rest hit the checksum's own key


def test_a_job_loads_once_and_only_if_a_shard_is_missing(tmp_path: Path) -> None:
    loaded = []

    def load() -> int:
        loaded.append(3)
        return 3

    def work(times: int, names: Sequence[str]) -> pl.DataFrame:
        assert times == 3
        return _work(names)

    assert _run(tmp_path, Job(load, work)).equals(_work(NAMES))
    assert loaded == [3]
    (tmp_path / "00000004.parquet").unlink()
    assert _run(tmp_path, Job(load, work)).equals(_work(NAMES))
    assert _run(tmp_path, Job(load, work)).equals(_work(NAMES))
    assert loaded == [3, 3]
