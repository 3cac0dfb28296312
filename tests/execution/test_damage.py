"""A model in the scratch folder that is damaged is dropped with one line, and trained again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.damages import DAMAGES, copied, warnings
from tests.small_models import tiny_policy
from westofn.execution.damage import drop, has_model
from westofn.models.policy import save_policy
from westofn.text.encoding import Encoder

FILES = (
    "card.json",
    "config.json",
    "curve.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)


@pytest.fixture
def model(small_encoder: Encoder, tmp_path: Path) -> Path:
    curve = [{"split": "train", "step": 1, "loss": 0.5}]
    save_policy(tiny_policy(small_encoder), tmp_path / "policy", [("the cat", "so")], {}, curve)
    return tmp_path / "policy"


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damaged_file_is_noticed(
    damage: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(FILES) <= {path.name for path in model.iterdir()}
    for name in FILES:
        folder = copied(model, tmp_path / "part")
        assert has_model("size", folder, "policy")
        DAMAGES[damage](folder / name)
        assert not has_model("size", folder, "policy")
        assert not folder.exists()
        (line,) = warnings(capsys)
        assert name in line
        assert line.endswith("; this model is trained again")


def test_a_model_for_something_else_and_a_file_are_no_model(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not has_model("size", tmp_path / "none", "policy")
    assert warnings(capsys) == []
    (tmp_path / "file").write_text("")
    assert not has_model("size", tmp_path / "file", "policy")
    assert not has_model("size", model, "reward_model")
    assert len(warnings(capsys)) == 2
    assert not (tmp_path / "file").exists()


def test_only_the_first_process_removes_and_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shard").write_text("")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    drop("sample", tmp_path / "shard", "cut", "computed again")
    assert (tmp_path / "shard").exists()
    monkeypatch.setenv("RANK", "0")
    drop("sample", tmp_path / "shard", "cut\n short; rerun sample", "computed again")
    assert not (tmp_path / "shard").exists()
    assert warnings(capsys) == ["WARNING: sample: damaged and removed: cut short; computed again"]
