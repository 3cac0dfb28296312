"""Stages survive faults at their writes, and the soak sees it where they would not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak.__main__ import preloaded
from benchmarks.soak.faults import KINDS, Call, unflushed
from benchmarks.soak.record import Record, write_page
from tests.stages.pipeline import ROOT

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler"
)
SOAK = """
import sys
from pathlib import Path
{before}
from benchmarks.soak.__main__ import soak
folder = Path(sys.argv[1]) / "tiny"
folder.mkdir()
Path(sys.argv[1], "soak.json").write_text(soak(folder, {points}, 0, {stages}).as_json())
"""


def soaked(folder: Path, points: int, stages: list[str], before: str = "") -> dict[str, Any]:
    """What a soak counts, with a change of the code before it."""
    code = SOAK.format(points=points, stages=stages, before=before)
    command = [sys.executable, "-c", code, str(folder)]
    process = subprocess.run(
        command, cwd=ROOT, env=preloaded(folder), capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    counts: dict[str, Any] = json.loads((folder / "soak.json").read_text("utf-8"))
    return counts


@needs_compiler
def test_faults_of_every_kind_break_no_promise(tmp_path: Path) -> None:
    counts = soaked(tmp_path, 30, ["check", "prepare"])
    assert counts["failures"] == []
    assert counts["tried"] == 30
    for stage in ("check", "prepare"):
        assert all(counts["stages"][stage][kind] for kind in KINDS)
        assert counts["stages"][stage]["possible"] > 30


@needs_compiler
@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("import os; os.fsync = lambda descriptor: None", ", power at call"),
        (
            "from westofn.artifacts import atomic; atomic.beside = lambda path, role='': path",
            "is neither whole nor the earlier one nor absent",
        ),
    ],
    ids=["nothing is flushed", "files are written in their place"],
)
def test_a_broken_promise_is_seen(change: str, seen: str, tmp_path: Path) -> None:
    counts = soaked(tmp_path, 24, ["check"], change)
    assert any(seen in failure for failure in counts["failures"])


def test_a_file_is_lost_until_it_is_flushed_under_any_name() -> None:
    calls = [
        Call("mkdir", "/.out"),
        Call("open", "/.out/a"),
        Call("write", "/.out/a"),
        Call("write", "/.out/b"),
        Call("fsync", "/.out/b"),
        Call("rename", "/.out", "/out"),
    ]
    assert unflushed(calls) == {"/out/a"}
    assert unflushed([*calls, Call("unlink", "/out/a")]) == set()


def test_the_table_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    marks = "<!-- soak: start -->\n", "<!-- soak: end -->\n"
    page.write_text(f"before\n{marks[0]}old\n{marks[1]}after\n", "utf-8")
    write_page(Record(seed=3, possible={"code": 7}), page)
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| `code` | 7 | 0 |" in text
    page.write_text("no marks", "utf-8")
    with pytest.raises(ValueError, match="needs the lines"):
        write_page(Record(seed=3, possible={}), page)
