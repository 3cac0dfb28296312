"""Parameters of an output by its content, as dvc.lock recorded them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB
from dvc_objects.fs.local import LocalFileSystem
from ruamel.yaml import YAML

from westofn.errors import DataError
from westofn.exporting.lineage import dvc_digest, lineage_of


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def test_the_digest_is_dvcs(tmp_path: Path) -> None:
    # Sorted by the whole path: "a-b" comes before "a/b".
    folder = put(tmp_path / "out", {"b": "1", "a/b": "2", "a-b": "3", "a/c/d": "é"})
    system = LocalFileSystem()
    for path in (folder, folder / "b"):
        store = HashFileDB(system, str(tmp_path / "store"))
        _, _, found = build(store, str(path), system, "md5", dry_run=True)
        assert dvc_digest(path) == found.hash_info.value


def stage(
    params: dict[str, Any], deps: dict[str, str], outs: dict[str, str]
) -> dict[str, dict[str, Any] | list[dict[str, str]]]:
    return {
        "params": {"params.yaml": params},
        "deps": [{"path": path, "md5": md5} for path, md5 in deps.items()],
        "outs": [{"path": path, "md5": md5} for path, md5 in outs.items()],
    }


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return put(tmp_path / "moved" / "elsewhere", {"preferences": "rows"})


@pytest.fixture
def stages(out: Path) -> dict[str, Any]:
    """check -> prepare -> sample -> filter -> student, as dvc.lock has them."""
    return {
        "check": stage({"seed": 9, "rlhf": {"steps": 1}}, {}, {"data/check/ok": "c"}),
        "prepare": stage(
            {"seed": 7, "prepare": {"path": "/home/me/hh", "limit": 0}},
            {"data/check/ok": "c", "westofn/errors.py": "e"},
            {"data/prepared": "p"},
        ),
        "sample": stage({"sample": {"n": 64}}, {"data/prepared": "p"}, {"data/candidates": "s"}),
        "filter": stage(
            {"filter": {"quantile": 0.5}},
            {"data/prepared": "p", "data/candidates": "s"},
            {"data/synthetic": dvc_digest(out)},
        ),
        "student_rm": stage({"student_rm": {}}, {"data/synthetic": "x"}, {"data/rm": "r"}),
    }


def lock(tmp_path: Path, stages: dict[str, Any]) -> Path:
    path = tmp_path / "dvc.lock"
    with path.open("w") as handle:
        YAML().dump({"schema": "2.0", "stages": stages}, handle)
    return path


def test_parameters_of_all_stages_on_the_way(
    out: Path, stages: dict[str, Any], tmp_path: Path
) -> None:
    found = lineage_of(out, lock(tmp_path, stages))
    assert found.digest == dvc_digest(out)
    # Of `check`, which knows all parameters, and of the student none; no folder of a machine.
    assert found.params == {
        "filter": {"quantile": 0.5},
        "prepare": {"path": "hh", "limit": 0},
        "sample": {"n": 64},
        "seed": 7,
    }


def test_of_a_content_that_is_not_recorded_nothing_is_known(
    out: Path, stages: dict[str, Any], tmp_path: Path
) -> None:
    record = lock(tmp_path, stages)
    put(out, {"preferences": "other rows"})
    assert lineage_of(out, record).params == {}
    assert lineage_of(out, tmp_path / "no.lock").params == {}


def test_a_stage_that_ran_again_since_is_not_the_one_that_made_it(
    out: Path, stages: dict[str, Any], tmp_path: Path
) -> None:
    stages["sample"]["outs"][0]["md5"] = "new"
    assert lineage_of(out, lock(tmp_path, stages)).params == {}


@pytest.mark.parametrize("text", ["stages: [", "[]", "schema: '2.0'\n", "\x00"])
def test_a_damaged_record_is_refused(text: str, out: Path, tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text(text)
    with pytest.raises(DataError, match=r"dvc\.lock cannot be read .*restore it with git"):
        lineage_of(out, path)
