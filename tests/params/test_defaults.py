"""A section takes values of shared ones, may give its own, and faults name where they stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dvc.exceptions import InvalidArgumentError
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from tests.repo.pipelines import ROOT
from westofn.errors import ParameterError
from westofn.params.base_rm import BaseRmParams
from westofn.params.file import load_section, load_seed
from westofn.params.loop import load_loop
from westofn.params.prepare import PrepareParams
from westofn.params.rlhf import RlhfParams
from westofn.params.sft import SftParams
from westofn.params.student_rm import StudentRmParams
from westofn.params.whole import SECTIONS, load_params
from westofn.sources.splits import NEAR_DUPLICATE_JACCARD

Edit = Callable[..., Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """The repository's file after an edit of its sections; returns its path."""

    def write(edit: Callable[[Any], object]) -> Path:
        raw = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text("utf-8"))
        edit(raw)
        path = tmp_path / "params.yaml"
        with path.open("w", encoding="utf-8") as handle:
            YAML(typ="safe", pure=True).dump(raw, handle)
        return path

    return write


def test_the_recipe_is_both_reward_models_until_one_gives_its_own(edited: Edit) -> None:
    path = edited(lambda raw: (raw["reward"].update(steps=70), raw["base_rm"].update(runs=9)))
    base, student = load_section(BaseRmParams, path), load_section(StudentRmParams, path)
    assert (base.steps, student.steps) == (70, 70)
    assert base.runs == 9
    assert student.runs == load_params(ROOT / "params.yaml").reward.runs != 9


def test_a_nested_value_of_ones_own_leaves_the_others_shared(edited: Edit) -> None:
    def edit(raw: Any) -> None:
        raw["lora"].update(alpha=3.0, dropout=0.5)
        raw["rlhf"]["lora"] = {"rank": 7}
        raw["reward"]["lora"] = {"rank": 5}
        raw["student_rm"].update(learner="network", lora={"rank": 6})

    path = edited(edit)
    rlhf = load_section(RlhfParams, path).lora
    assert (rlhf.rank, rlhf.alpha) == (7, 3.0)
    assert "dropout" not in rlhf.model_dump()
    assert load_section(BaseRmParams, path).lora.rank == 5
    student = load_section(StudentRmParams, path).lora
    assert (student.rank, student.alpha, student.dropout) == (6, 3.0, 0.5)
    assert load_section(SftParams, path).lora.rank == 0


def test_a_section_alone_is_what_it_is_in_the_whole_file() -> None:
    whole = load_params(ROOT / "params.yaml")
    assert SECTIONS.keys() == whole.model_dump().keys() - {"seed", "loop"}
    for name, section in SECTIONS.items():
        assert section.key == name
        assert load_section(section, ROOT / "params.yaml") == getattr(whole, name)
    assert load_seed(ROOT / "params.yaml") == whole.seed
    assert load_loop(ROOT / "params.yaml") == whole.loop


def test_a_fault_of_another_section_is_no_matter_of_this_one(edited: Edit) -> None:
    path = edited(lambda raw: (raw["filter"].update(quantile=2), raw.pop("study")))
    assert load_section(SftParams, path) == load_section(SftParams, ROOT / "params.yaml")
    with pytest.raises(ParameterError, match=r"filter\.quantile is 2, .*; study is missing"):
        load_params(path)


def test_a_shared_fault_is_told_once_and_where_it_stands(edited: Edit) -> None:
    path = edited(lambda raw: (raw["lora"].update(rank=-1), raw["reward"].pop("runs")))
    for load in (load_params, lambda path: load_section(StudentRmParams, path)):
        with pytest.raises(ParameterError) as caught:
            load(path)
        assert str(caught.value) == (
            f"{path}: lora.rank is -1, needs greater than or equal to 0; reward.runs is missing; "
            "add it (git diff params.yaml shows what changed)"
        )


def test_what_a_section_gives_itself_is_faulted_there(edited: Edit) -> None:
    path = edited(lambda raw: raw["base_rm"].update(steps=0, lora={"rank": -1}))
    with pytest.raises(ParameterError) as caught:
        load_params(path)
    text = str(caught.value)
    assert "base_rm.steps is 0, needs" in text
    assert "base_rm.lora.rank is -1, needs" in text
    assert text.count("; ") == 1


def test_a_file_without_a_shared_section_is_told_of_it_alone(edited: Edit) -> None:
    path = edited(lambda raw: raw.pop("lora"))
    for load in (load_params, lambda path: load_section(SftParams, path)):
        with pytest.raises(ParameterError) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: lora is missing; add it")
        assert str(caught.value).count("missing") == 1


def test_dvc_sets_an_own_value_by_a_plus_and_keeps_the_file(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text("utf-8")
    path.write_text(before, "utf-8")
    with pytest.raises(InvalidArgumentError):
        apply_overrides(path, ["student_rm.steps=60"])
    apply_overrides(path, ["+student_rm.steps=60", "+rlhf.lora.rank=8", "reward.runs=2"])
    params = load_params(path)
    assert (params.student_rm.steps, params.base_rm.steps) == (60, params.reward.steps)
    assert (params.rlhf.lora.rank, params.sft.lora.rank) == (8, 0)
    assert (params.base_rm.runs, params.student_rm.runs) == (2, 2)
    kept = [line for line in before.splitlines() if not line.startswith("  runs:")]
    assert set(kept) <= set(path.read_text("utf-8").splitlines())


@pytest.mark.parametrize(
    ("value", "jaccard"), [("off", None), (False, None), (0.8, 0.8), (1, 1.0), (1.0, 1.0)]
)
def test_near_duplicates_are_a_similarity_or_off(
    edited: Edit, value: object, jaccard: float | None
) -> None:
    path = edited(lambda raw: raw["prepare"]["files"].update(near_duplicates=value))
    assert load_section(PrepareParams, path).files.jaccard == jaccard


@pytest.mark.parametrize("value", ["on", True, 0, 1.5, -0.1, float("nan"), None, "0.8", [0.8]])
def test_other_near_duplicates_are_refused_by_name(edited: Edit, value: object) -> None:
    path = edited(lambda raw: raw["prepare"]["files"].update(near_duplicates=value))
    with pytest.raises(ParameterError) as caught:
        load_section(PrepareParams, path)
    assert str(caught.value) == (
        f"{path}: prepare.files.near_duplicates is {value!r}, needs off or a number above 0 and "
        "at most 1"
    )


def test_the_earlier_name_of_near_duplicates_is_told_the_new_one(edited: Edit) -> None:
    path = edited(lambda raw: raw["prepare"]["files"].update(near_duplicate=0.8))
    with pytest.raises(ParameterError, match="did you mean near_duplicates"):
        load_section(PrepareParams, path)


def test_files_are_inspected_at_the_threshold_at_which_they_are_split() -> None:
    files = load_params(ROOT / "params.yaml").prepare.files
    assert files.near_duplicates == NEAR_DUPLICATE_JACCARD
