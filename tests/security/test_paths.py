"""Names in files and in data that lead elsewhere: nothing outside is read, copied or run."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import datasets
import pytest

from westofn.artifacts.integrity import MANIFEST, damage, write_manifest, write_sealed
from westofn.errors import DataError, ModelError, ParameterError
from westofn.exporting.reward_model import export_reward_model
from westofn.models.card import CARD, read_card
from westofn.plugins import entry_of, plugin_module
from westofn.sources.reading import files_of, rows_of

SECRET = "a secret of another folder"
OUTSIDE = ("../x", "../../x", "/x", "a/b", "..", ".", "", "./x", "a\\..\\..\\x")


@pytest.mark.parametrize("name", [*OUTSIDE, "x.y", "x y", "x\0"])
def test_a_plugin_is_a_file_of_its_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clone" / "plugins").mkdir(parents=True)
    (tmp_path / "clone" / "x.py").write_text("raise SystemExit('it ran')")
    (tmp_path / "x.py").write_text("raise SystemExit('it ran')")
    monkeypatch.chdir(tmp_path / "clone")
    for look in (
        lambda: entry_of({}, f"{name}:loss", "base_rm.loss"),
        lambda: plugin_module(f"{name}:loss"),
    ):
        with pytest.raises(ParameterError, match="needs the name of a Python file in plugins/"):
            look()


@pytest.mark.parametrize("link", ["absolute", "relative"])
def test_a_saved_data_set_reads_its_own_files(link: str, tmp_path: Path) -> None:
    for name, text in (("other", SECRET), ("mine", "mine")):
        datasets.Dataset.from_dict({"prompt": [text]}).save_to_disk(str(tmp_path / name))
    (file,) = files_of(tmp_path / "mine", "prepare.path")
    assert [row.values for row in rows_of(file)] == [{"prompt": "mine"}]
    path = tmp_path / "mine" / "state.json"
    state = json.loads(path.read_text())
    arrow = next((tmp_path / "other").glob("*.arrow"))
    elsewhere = str(arrow) if link == "absolute" else os.path.relpath(arrow, tmp_path / "mine")
    state["_data_files"] = [{"filename": elsewhere}]
    path.write_text(json.dumps(state))
    with pytest.raises(DataError, match=r"state\.json: names the file .*needs the name of a file"):
        list(rows_of(file))


@pytest.mark.parametrize("name", OUTSIDE[:-1])
def test_a_manifest_and_a_card_name_files_of_their_folder(
    name: str, saved_models: Path, tmp_path: Path
) -> None:
    work = tmp_path / "a" / "b"
    work.mkdir(parents=True)
    (work / "x").write_text("x")
    write_manifest(work)
    assert damage(work) is None
    write_sealed({"files": {name: "0" * 64}}, work / MANIFEST)
    assert re.search("needs the name of a file|is a folder, needs a file", str(damage(work)))
    model = tmp_path / "model"
    model.mkdir()
    card = json.loads((saved_models / "pointwise" / CARD).read_text())
    card["files"] = {name: "0" * 64}
    (model / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match="files"):
        read_card(model, "reward_model")


def test_an_export_holds_the_files_that_the_card_names_and_no_other(
    saved_models: Path, tmp_path: Path
) -> None:
    (tmp_path / "id_rsa").write_text(SECRET)
    model = tmp_path / "model"
    model.mkdir()
    for path in (saved_models / "pointwise").iterdir():  # as DVC links from its cache
        (model / path.name).symlink_to(path)
    (model / "notes.txt").symlink_to(tmp_path / "id_rsa")
    (model / "folder").symlink_to(tmp_path)
    export_reward_model(tmp_path / "out", model=model)
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert there == {path.name for path in (saved_models / "pointwise").iterdir()} | {"README.md"}
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())
    assert SECRET.encode() not in b"".join(p.read_bytes() for p in (tmp_path / "out").iterdir())


def test_an_export_replaces_no_folder_behind_a_link(saved_models: Path, tmp_path: Path) -> None:
    export_reward_model(tmp_path / "real", model=saved_models / "pointwise")
    before = {path.name: path.read_bytes() for path in (tmp_path / "real").iterdir()}
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(DataError):
        export_reward_model(tmp_path / "link", model=saved_models / "pointwise")
    assert {path.name: path.read_bytes() for path in (tmp_path / "real").iterdir()} == before
