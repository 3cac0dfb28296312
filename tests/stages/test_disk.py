"""A full disk, a forbidden folder, a second process: one line, earlier outputs stay whole."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stages.pipeline import Outcome, Tiny
from westofn.artifacts import atomic

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: the system itself refuses, whoever writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("stage", "place"),
    [
        ("prepare", "data/"),
        ("won_select@k1", ".scratch/"),
        ("filter@k1", "data/"),
        ("eval_reference@hf50", "data/"),
    ],
)
def test_a_full_disk_leaves_the_earlier_tables(
    stage: str, place: str, call: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise FULL

    monkeypatch.setattr(os, call, refuse)
    tiny.change({"seed": 1})
    tiny.fail(stage, place, "cannot be written: the disk is full; free some space and rerun")


def test_a_disk_that_fills_up_midway_leaves_every_file_as_it_was(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tiny.files()
    replace, renamed = os.replace, []

    def once(source: Path, target: Path) -> None:
        if renamed:
            raise FULL
        renamed.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", once)
    tiny.change({"filter": {"quantile": 0.5}})
    outcome = tiny.call("filter@k1")
    assert outcome.code == 2
    assert renamed == ["preferences.parquet"]
    after = tiny.files()
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"params.yaml"}


def test_a_faulty_disk_is_one_line_where_scratch_is_removed(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmdir = os.rmdir

    def refuse(path: str, *, dir_fd: int | None = None) -> None:
        if ".scratch" in str(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        rmdir(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", refuse)
    outcome = tiny.call("sample@k1")
    assert outcome.code == 2
    assert "cannot be read or written: the disk reports an input/output error" in outcome.lines[-1]
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize("stage", ["sft", "base_rm", "rlhf@k1"])
@pytest.mark.parametrize("size", [2_000, 60_000], ids=["tiny", "less than the weights"])
def test_a_model_that_cannot_be_written_leaves_the_earlier_one(
    stage: str, size: int, tiny: Tiny
) -> None:
    tiny.change({"seed": 1})
    with files_up_to(size):
        tiny.fail(stage, "cannot be written: ", "rerun")


@pytest.mark.parametrize(
    ("stage", "out"), [("won_select@k1", "data/loop/k1/pairs"), ("sft", "data/loop/k0/policy")]
)
def test_a_forbidden_folder_is_named(
    stage: str, out: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = atomic.beside(Path(out))
    mkdir = Path.mkdir

    # Root may write everywhere, so the system's answer is given here.
    def refuse(self: Path, *args: object, **options: object) -> None:
        if self == beside:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        mkdir(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", refuse)
    tiny.fail(stage, out, "cannot be written: permission denied; make the folder writable")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tiny: Tiny) -> None:
    folder = tiny / "data/loop/k1"
    folder.chmod(0o500)
    try:
        tiny.fail("won_select@k1", "data/loop/k1/pairs", "permission denied")
    finally:
        folder.chmod(0o700)


def test_a_file_where_a_folder_should_be_is_named(tiny: Tiny) -> None:
    for path in (tiny / "data/check").iterdir():
        path.unlink()
    (tiny / "data/check").rmdir()
    (tiny / "data/check").write_text("")
    tiny.fail("check", "data/check/ok", "a part of the path is a file", "move it away and rerun")


def test_a_second_process_is_sent_away(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from westofn.generation import sample_pools

    second: list[Outcome] = []
    sample_shards = sample_pools.sample_shards

    def meanwhile(*args: object) -> object:
        if not second:
            second.append(tiny.call("sample@k1"))
        return sample_shards(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(sample_pools, "sample_shards", meanwhile)
    before = tiny.files()
    assert tiny.call("sample@k1").code == 0
    assert second[0].code == 2
    (line,) = second[0].lines
    assert line.startswith("sample: sample-k1: another process is running this stage")
    assert ".scratch/sample-k1/" in line
    assert "wait for it, or stop it" in line
    assert tiny.files() == before
    assert not [path for path in (tiny / ".scratch").rglob("*") if path.is_file()]


def test_notes_that_cannot_be_written_do_not_fail_a_stage(tiny: Tiny) -> None:
    (tiny / "runs").write_text("in the way")
    outcome = tiny.call("check")
    assert outcome.code == 0
    assert outcome.lines[0].startswith("check: run facts not noted")
