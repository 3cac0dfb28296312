"""Selection in shards: the pairs of selection at once, and what was judged is not judged again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pairing.files import pool_file
from tests.small_models import PROMPTS, RESPONSES
from westofn.artifacts.pools import PoolFile, Pools
from westofn.errors import ModelError
from westofn.models.ensemble import load_anchor, load_reward_models
from westofn.pairing import select as module
from westofn.pairing.frames import margins_frame, nested_frame, pairs_frame, summarise
from westofn.pairing.select import Selection, select, select_in_shards
from westofn.pairing.teacher import SavedTeacher, Teacher

SIZE, LIMIT = 4, 8


@pytest.fixture
def pools(tmp_path: Path) -> PoolFile:
    """Nine pools, which are read in blocks of two."""
    rows = [
        (f"p{row}", PROMPTS[row % 4], RESPONSES[row % 4 :] + RESPONSES[: row % 4])
        for row in range(9)
    ]
    return pool_file(Pools.of_rows(rows), tmp_path)


@pytest.fixture(autouse=True)
def two_pools_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOKENS_A_SHARD", 2 * SIZE * LIMIT)


def tables(selection: Selection) -> list[object]:
    frames = (pairs_frame(selection), nested_frame(selection), margins_frame(selection))
    return [*(frame.to_dict(as_series=False) for frame in frames), summarise(selection)]


@pytest.mark.parametrize(
    ("base", "anchor", "weight", "pessimism"),
    [
        ("pointwise", "pointwise", 0.0, 0.0),
        ("embedding", "pointwise", 0.0, 0.0),
        ("joint", "pointwise", 0.0, 0.0),
        ("ensemble", "pointwise", 0.0, 1.0),
        ("pointwise", "joint", 0.25, 0.0),
        ("embedding", "ensemble", 0.5, 1.0),
        ("joint", "embedding", 1.0, 0.0),
    ],
)
def test_shards_give_the_tables_of_models_in_memory(
    base: str,
    anchor: str,
    weight: float,
    pessimism: float,
    saved_models: Path,
    pools: PoolFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher = SavedTeacher.of(saved_models / base, saved_models / anchor, weight)
    in_shards = select_in_shards(
        teacher, pools, tmp_path / "shards", selector="west", seed=3, pessimism=pessimism
    )
    assert len(list((tmp_path / "shards").iterdir())) == 5
    monkeypatch.setattr(module._Rule, "pools_at_once", lambda *_: 2)
    at_once = select(
        load_reward_models(saved_models / base),
        pools,
        method="exact",
        selector="west",
        seed=3,
        pessimism=pessimism,
        anchor=load_anchor(saved_models / anchor, weight),
    )
    assert tables(in_shards) == tables(at_once)


def test_another_selector_takes_what_was_judged(
    saved_models: Path, pools: PoolFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = SavedTeacher.of(saved_models / "ensemble", saved_models / "joint", 0.0)

    def chosen(selector: str, pessimism: float) -> Selection:
        return select_in_shards(
            teacher, pools, tmp_path / "shards", selector=selector, seed=3, pessimism=pessimism
        )

    west = chosen("west", 0.0)

    def no_load(_: SavedTeacher) -> Teacher:
        raise AssertionError("models are loaded again")

    monkeypatch.setattr(SavedTeacher, "load", no_load)
    assert tables(chosen("west", 0.0)) == tables(west)
    assert tables(chosen("best_random", 0.0)) != tables(west)
    assert tables(chosen("west", 2.0)) != tables(west)


def test_only_the_lost_shard_is_judged_again(
    saved_models: Path, pools: PoolFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = SavedTeacher.of(saved_models / "pointwise", saved_models / "joint", 0.0)
    folder = tmp_path / "shards"
    first = select_in_shards(teacher, pools, folder, selector="west", seed=3)
    (folder / "00000004.parquet").write_bytes(b"PAR1 damaged")
    judged = []
    outputs = Teacher.outputs

    def noted(self: Teacher, block: Pools) -> object:
        judged.append(block.prompt_ids)
        return outputs(self, block)

    monkeypatch.setattr(Teacher, "outputs", noted)
    again = select_in_shards(teacher, pools, folder, selector="west", seed=3)
    assert judged == [["p4", "p5"]]
    assert tables(again) == tables(first)


def test_a_missing_folder_is_refused_before_anything_is_read(
    saved_models: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"nowhere is missing; run `dvc repro`"):
        SavedTeacher.of(saved_models / "pointwise", tmp_path / "nowhere", 0.5)


def test_a_margin_that_is_not_finite_names_its_prompt(
    saved_models: Path, pools: PoolFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = SavedTeacher.of(saved_models / "pointwise", saved_models / "joint", 0.0)
    outputs = Teacher.outputs

    def broken(self: Teacher, block: Pools) -> object:
        return [rewards * float("nan") for rewards in outputs(self, block)]

    monkeypatch.setattr(Teacher, "outputs", broken)
    with pytest.raises(ModelError, match=r"^won_select: prompt p0: a margin of the reward model"):
        select_in_shards(teacher, pools, tmp_path / "shards", selector="west", seed=3)
