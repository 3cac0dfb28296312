"""A folder appears as a whole or not at all, and what killed processes left goes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from westofn.artifacts import atomic
from westofn.artifacts.atomic import beside, sweep, sweep_all, whole_folder, write_bytes
from westofn.errors import DataError


def texts(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones included."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def ended() -> int:
    """The number of a process that has ended."""
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with an earlier output."""
    out = tmp_path / "data" / "out"
    write_bytes(b"earlier", out / "a")
    write_bytes(b"earlier", out / "gone")
    return out


def test_a_folder_replaces_the_earlier_one_when_its_block_ends(out: Path) -> None:
    with whole_folder(out) as place:
        assert list(place.iterdir()) == []
        write_bytes(b"new", place / "a")
        write_bytes(b"new", place / "deep" / "b")
        assert texts(out) == {"a": "earlier", "gone": "earlier"}
    assert texts(out.parent) == {"out/a": "new", "out/deep/b": "new"}


def test_missing_parents_are_made(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "deep" / "out") as place:
        write_bytes(b"new", place / "a")
    assert texts(tmp_path) == {"deep/out/a": "new"}


def test_of_two_folders_the_inner_one_is_in_place_first(tmp_path: Path) -> None:
    order = []
    put = atomic._put
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic, "_put", lambda *paths: (order.append(paths[1].name), put(*paths)))
        with whole_folder(tmp_path / "outer"), whole_folder(tmp_path / "inner"):
            pass
    assert order == ["inner", "outer"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit()])
def test_after_an_error_the_earlier_folder_stays(error: BaseException, out: Path) -> None:
    def fail() -> None:
        with whole_folder(out) as place:
            write_bytes(b"new", place / "a")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert texts(out.parent) == {"out/a": "earlier", "out/gone": "earlier"}


@pytest.mark.parametrize("call", [1, 2])
def test_an_interrupt_between_the_renames_leaves_one_whole_folder(
    call: int, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, calls = Path.rename, 0

    def interrupted(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(out) as place:
        write_bytes(b"new", place / "a")
    assert texts(out.parent) == {"out/a": "earlier", "out/gone": "earlier"}


def test_an_error_names_the_folder_and_not_the_temporary_one(out: Path) -> None:
    def fail() -> None:
        with whole_folder(out) as place:
            (place / "a").mkdir()
            write_bytes(b"new", place / "a")

    with pytest.raises(DataError, match=r"^[^.]*/data/out/a: cannot be written: a folder has"):
        fail()
    with pytest.raises(OSError, match="full") as caught, whole_folder(out) as place:
        raise OSError(errno.ENOSPC, "full", str(place / "model"))
    assert caught.value.filename == str(out / "model")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DataError, match=r"out: is a file, needs to be a folder; move it away"):
        whole_folder(tmp_path / "out").__enter__()
    assert texts(tmp_path) == {"out": "a file"}


def test_a_link_to_a_folder_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    write_bytes(b"elsewhere", tmp_path / "target" / "a")
    (tmp_path / "out").symlink_to(tmp_path / "target")
    with whole_folder(tmp_path / "out") as place:
        write_bytes(b"new", place / "a")
    assert texts(tmp_path) == {"out/a": "new", "target/a": "elsewhere"}
    assert not (tmp_path / "out").is_symlink()


def test_what_ended_processes_left_goes_and_what_a_running_one_writes_stays(out: Path) -> None:
    dead, alive = ended(), os.getppid()
    write_bytes(b"x", out.with_name(f".out.{dead}.tmp") / "a")
    write_bytes(b"x", out.with_name(f".out.{dead}.old.tmp") / "a")
    write_bytes(b"x", out.with_name(f".out.{alive}.tmp") / "a")
    write_bytes(b"x", out.with_name(f".other.{dead}.tmp"))
    write_bytes(b"x", out.with_name(".out.mine.tmp"))
    write_bytes(b"x", beside(out))  # of an earlier process with the number of this one
    sweep(out)
    left = {path.name for path in out.parent.iterdir()}
    assert left == {"out", f".out.{alive}.tmp", f".other.{dead}.tmp", ".out.mine.tmp"}
    sweep_all(out.parent.iterdir())
    assert {path.name for path in out.parent.iterdir()} == left - {f".other.{dead}.tmp"}


def test_nothing_to_sweep_is_no_error(tmp_path: Path) -> None:
    sweep(tmp_path / "none" / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_the_earlier_folder_and_the_next_run_sweeps(out: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from westofn.artifacts.atomic import whole_folder, write_bytes\n"
        "with whole_folder(Path(sys.argv[1])) as place:\n"
        "    write_bytes(b'new', place / 'a')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, out], check=False)
    assert killed.returncode == -9
    assert texts(out) == {"a": "earlier", "gone": "earlier"}
    assert len(list(out.parent.iterdir())) == 2
    with whole_folder(out) as place:
        write_bytes(b"new", place / "a")
    assert texts(out.parent) == {"out/a": "new"}


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EIO, "Input/output error"), "the disk reports an input/output error"),
        (RuntimeError("I/O error: Input/output error (os error 5)"), "input/output error"),
        (RuntimeError("No space left on device (os error 28)"), "the disk is full"),
        (RuntimeError("inline_container.cc:874: unexpected pos 64 vs 0"), "full or faulty"),
        (RuntimeError("basic_ios::clear: iostream error"), "full or faulty"),
    ],
    ids=["python", "safetensors", "safetensors, full", "torch", "its stream"],
)
def test_every_writers_refusal_says_how_to_mend_it(error: Exception, says: str) -> None:
    assert says in (atomic.refusal(error) or "")


def test_an_error_of_another_kind_is_no_refusal() -> None:
    assert atomic.refusal(RuntimeError("size mismatch (os error 1)")) is None
