"""The working folder of a stage: one process, one set of inputs, kept until the work is done."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from westofn.errors import DataError, ParameterError
from westofn.execution.scratch import BusyError, model_folders, scratch

SECOND = """
from pathlib import Path
from westofn.execution.scratch import BusyError, scratch
try:
    with scratch("sample-k1", {"n": 2}, [Path("input.txt")]):
        print("entered")
except BusyError as error:
    print(error)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("input.txt").write_text("text")
    return tmp_path


def _second_process() -> str:
    done = subprocess.run(
        [sys.executable, "-c", SECOND], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def _folder(settings: object = None, *inputs: str) -> str:
    """The name of the folder, which is the digest of what the work depends on."""
    with scratch("stage", settings, [Path(name) for name in inputs or ("input.txt",)]) as folder:
        return folder.name


def test_a_second_process_is_refused_while_the_first_works_and_only_then() -> None:
    with scratch("sample-k1", {"n": 2}, [Path("input.txt")]) as folder:
        assert folder.is_dir()
        answer = _second_process()
        assert answer.startswith("sample-k1: another process is running this stage on the same")
        assert "wait for it, or stop it and run again" in answer
        with scratch("sample-k1", {"n": 3}, [Path("input.txt")]) as other:
            assert other != folder
    assert _second_process() == "entered"


def test_a_lock_that_a_dead_process_left_keeps_nobody_out() -> None:
    with pytest.raises(RuntimeError), scratch("stage", 1, []) as folder:
        raise RuntimeError
    assert folder.with_suffix(".lock").exists()
    with scratch("stage", 1, []) as again:
        assert again == folder


def test_a_lock_that_was_unlinked_after_it_was_opened_is_taken_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flock, calls = fcntl.flock, 0

    def late(handle: Any, operation: int) -> None:
        """The last holder ends between this process's opening and locking of the file."""
        nonlocal calls
        calls += 1
        if calls == 1:
            path = Path(handle.name)
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink()
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with scratch("sample-k1", {"n": 2}, [Path("input.txt")]) as folder:
        assert folder.is_dir()
        assert folder.with_suffix(".lock").exists()
        assert _second_process().startswith("sample-k1: another process is running")
    assert calls == 2


def test_the_folder_goes_with_its_work_on_success() -> None:
    with scratch("stage", 1, []) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "shard").write_text("x")
    assert list(folder.parent.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_folder_stays_when_the_work_fails(error: type[BaseException]) -> None:
    def work() -> None:
        with scratch("stage", 1, []) as folder:
            (folder / "shard").write_text("half done")
            raise error

    with pytest.raises(error):
        work()
    with scratch("stage", 1, []) as again:
        assert (again / "shard").read_text() == "half done"


def test_other_parameters_or_stages_have_folders_of_their_own() -> None:
    assert _folder({"a": 1, "b": [2.0, None]}) == _folder({"b": [2.0, None], "a": 1})
    assert len({_folder({"a": 1}), _folder({"a": 2}), _folder({"b": 1}), _folder({"a": 1.5})}) == 4
    with scratch("one", 1, []) as one, scratch("two", 1, []) as two:
        assert one != two


def test_the_content_of_an_input_decides_and_its_date_does_not() -> None:
    before = _folder()
    Path("input.txt").write_text("text")
    assert _folder() == before
    Path("input.txt").write_text("Text")
    assert _folder() != before


def test_every_file_of_a_folder_counts_by_name_and_content() -> None:
    model = Path("model")
    (model / "deep").mkdir(parents=True)
    (model / "a").write_text("1")
    (model / "deep" / "b").write_text("2")
    seen = [_folder(None, "model")]
    (model / "deep" / "b").write_text("3")
    seen.append(_folder(None, "model"))
    (model / "deep" / "b").rename(model / "deep" / "c")
    seen.append(_folder(None, "model"))
    (model / "d").write_text("")
    seen.append(_folder(None, "model"))
    # Content that moves from one file to the next is another folder too.
    (model / "a").write_text("")
    (model / "d").write_text("1")
    seen.append(_folder(None, "model"))
    assert len(set(seen)) == 5


def test_a_missing_input_is_named_before_anything_is_made() -> None:
    with (
        pytest.raises(DataError, match=r"^none\.parquet is missing; run `dvc repro`"),
        scratch("stage", 1, [Path("none.parquet")]),
    ):
        raise AssertionError("entered")
    assert not Path(".scratch").exists()


def test_the_refusal_is_an_expected_error() -> None:
    assert issubclass(BusyError, Exception)
    with scratch("stage", 1, []), pytest.raises(BusyError), scratch("stage", 1, []):
        raise AssertionError("entered twice")


def test_the_first_of_several_processes_holds_the_folder_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with scratch("stage", 1, [], together=True) as folder:
        with pytest.raises(BusyError), scratch("stage", 1, [], together=True):
            raise AssertionError("entered twice")
        monkeypatch.setenv("RANK", "1")
        with scratch("stage", 1, [], together=True) as shared:
            assert shared == folder
        assert folder.is_dir()
        monkeypatch.setenv("RANK", "0")
    assert list(folder.parent.iterdir()) == []


def test_several_processes_are_refused_by_work_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(ParameterError, match=r"^stage: torchrun started 2 processes, this stage "),
        scratch("stage", 1, []),
    ):
        raise AssertionError("entered")
    assert not Path(".scratch").exists()


def test_other_weights_in_a_models_folder_are_other_inputs(tmp_path: Path) -> None:
    """A folder that sft.model names, beside a name on the hub and models that are made here."""
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    Path("scratch").mkdir()
    found = model_folders("model", "maker/model", "policy", "scratch")
    assert found == [Path("model")]
    seen = []
    for content in ("a", "b"):
        weights.write_text(content)
        with scratch("sft", {}, found) as folder:
            seen.append(folder)
    assert seen[0] != seen[1]
