"""An arm from tables to a saved model, or to an ensemble of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.damages import DAMAGES, warnings
from tests.small_models import VOCABULARY, reward_params, start_params, tiny_policy
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.errors import TrainingError
from westofn.models.ensemble import load_reward_models, mean_pair_margins
from westofn.models.policy import save_policy
from westofn.params.comparator import ComparatorName
from westofn.sources.human import HumanData
from westofn.text.encoding import Encoder
from westofn.training import arms
from westofn.training.arms import train_arm
from westofn.training.linear_head import LinearHead, LinearHeads
from westofn.training.recipe import Head, Recipe


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_encoder: Encoder) -> Path:
    """A folder with a policy and prepared tables, which is also the working folder."""
    monkeypatch.chdir(tmp_path)
    save_policy(tiny_policy(small_encoder, seed=4), tmp_path / "policy", [("the cat", "so")], {})
    words = VOCABULARY[:12]
    rows = [
        (f"p{i:02}", f"{word} {other}", f"{word} good", f"{other} bad")
        for i, (word, other) in enumerate((a, b) for a in words for b in words[:2])
    ]
    splits = ["train"] * 16 + ["validation"] * 8
    prepared = tmp_path / "prepared"
    PREFERENCES.write(
        PREFERENCES.frame(
            {
                "pair_id": [f"h-{row[0]}" for row in rows],
                "prompt_id": [row[0] for row in rows],
                "prompt": [row[1] for row in rows],
                "chosen": [row[2] for row in rows],
                "rejected": [row[3] for row in rows],
                "split": splits,
                "source": ["here"] * len(rows),
                "label_source": ["human"] * len(rows),
                "p_chosen": [None] * len(rows),
            }
        ),
        prepared / "preferences.parquet",
    )
    PROMPTS.write(
        pl.DataFrame({"prompt_id": ["u0"], "prompt": ["the sun ran"], "split": ["unlabeled"]}),
        prepared / "prompts.parquet",
    )
    return tmp_path


def _recipe(root: Path, head: Head, **changes: Any) -> Recipe:
    return Recipe(root / "policy", start_params(), reward_params(**changes), 0, head)


def _train(root: Path, out: str, members: int) -> None:
    train_arm(
        "base_rm",
        HumanData.read(root / "prepared"),
        _recipe(root, Head("embedding", 2), dropout=0.1),
        root / out,
        members=members,
    )


def _fit(root: Path, out: str, comparator: ComparatorName, members: int) -> None:
    train_arm(
        "base_rm",
        HumanData.read(root / "prepared"),
        _recipe(root, Head(comparator)),
        root / out,
        members=members,
        linear=LinearHead(),
    )


def test_a_linear_head_has_no_planes(root: Path) -> None:
    with pytest.raises(TrainingError, match="comparators pointwise and joint, found embedding"):
        _fit(root, "rm", "embedding", 1)
    assert not (root / "rm").exists()


@pytest.mark.parametrize("comparator", ["pointwise", "joint"])
def test_linear_members_differ_in_their_bootstrap_sample_and_read_features_once(
    comparator: ComparatorName, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[LinearHeads] = []
    original = arms.LinearHeads

    def counted(*given: Any) -> LinearHeads:
        made.append(original(*given))
        return made[-1]

    monkeypatch.setattr(arms, "LinearHeads", counted)
    _fit(root, "k0/one", comparator, 1)
    _fit(root, "k0/three", comparator, 3)
    assert len(made) == 2
    alone = _bytes(root / "k0/one")
    members = [_bytes(root / f"k0/three/member-{index}") for index in range(3)]
    assert members[0] == alone
    assert len({member["head.safetensors"] for member in members}) == 3
    # So that links in DVC's cache keep one copy of the network.
    assert len({member["model.safetensors"] for member in members}) == 1
    model = load_reward_models(root / "k0/three")
    margins = mean_pair_margins(model, ["the cat"], ["the good"], ["cat bad"])
    assert margins.isfinite().all()


def _bytes(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}


def test_the_first_of_several_members_is_the_model_of_one(root: Path) -> None:
    _train(root, "k0/one", members=1)
    _train(root, "k0/two", members=2)
    one, two = _bytes(root / "k0/one"), _bytes(root / "k0/two")
    assert "card.json" in one
    assert two.pop("ensemble.json") == b'{"members": 2}\n'
    own, both = json.loads(one["curve.json"]), json.loads(two.pop("curve.json"))
    assert [point for point in both if point["member"] == 0] == [
        {**point, "member": 0} for point in own
    ]
    assert len(both) == 2 * len(own)
    assert own != [point | {"member": 0} for point in both if point["member"] == 1]
    first = {name: data for name, data in two.items() if name.startswith("member-0/")}
    second = {name: data for name, data in two.items() if name.startswith("member-1/")}
    assert first == {f"member-0/{name}": data for name, data in one.items()}
    assert len(first) == len(second) == len(two) / 2
    for weights in ("head.safetensors", "model.safetensors"):
        assert first[f"member-0/{weights}"] != second[f"member-1/{weights}"]
    assert len(load_reward_models(root / "k0/two").members) == 2
    assert not list((root / "k0").glob(".*"))
    assert not list((root / ".scratch").rglob("member-*"))


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        ("a flipped bit", "head.safetensors"),
        ("emptied", "curve.json"),
        ("a folder", "card.json"),
        ("deleted", "model.safetensors"),
    ],
)
def test_a_damaged_member_costs_one_line_and_is_trained_again(
    damage: str,
    file: str,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _train(root, "k0/whole", members=2)
    original = arms.train_reward_model

    def dies_at_the_second(name: str, *given: object, **options: object) -> object:
        if name == "base_rm member-1":
            raise TrainingError("killed")
        return original(name, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(arms, "train_reward_model", dies_at_the_second)
    with pytest.raises(TrainingError, match="killed"):
        _train(root, "k0/rm", members=2)
    monkeypatch.setattr(arms, "train_reward_model", original)
    (finished,) = (root / ".scratch").rglob("members/member-0")
    DAMAGES[damage](finished / file)
    capsys.readouterr()
    _train(root, "k0/rm", members=2)
    assert _bytes(root / "k0/rm") == _bytes(root / "k0/whole")
    (line,) = warnings(capsys)
    assert file in line
    assert line.startswith("WARNING: base_rm: damaged and removed: ")


def test_a_killed_ensemble_goes_on_after_its_last_whole_member(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train(root, "k0/whole", members=3)
    original, trained = arms.train_reward_model, []

    def dies_at_the_second(name: str, *given: object, **options: object) -> object:
        if name == "base_rm member-1" and not trained.count(name):
            trained.append(name)
            raise TrainingError("killed")
        trained.append(name)
        return original(name, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(arms, "train_reward_model", dies_at_the_second)
    with pytest.raises(TrainingError, match="killed"):
        _train(root, "k0/rm", members=3)
    assert not (root / "k0/rm").exists()
    _train(root, "k0/rm", members=3)
    assert trained == [f"base_rm member-{index}" for index in (0, 1, 1, 2)]
    assert _bytes(root / "k0/rm") == _bytes(root / "k0/whole")
