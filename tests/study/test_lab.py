"""Arms: trained alike, measured once, and kept when a part is killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.damages import DAMAGES, warnings
from westofn.evaluation.records import Record
from westofn.models.ensemble import Ensemble
from westofn.params.reward import Learner
from westofn.runtime import Runtime
from westofn.study import lab as module
from westofn.study.inputs import StudyInputs
from westofn.study.lab import Lab
from westofn.study.synthetic import Pairs
from westofn.training.pairs import Preferences
from westofn.training.recipe import Head
from westofn.training.trained import TrainedReward

CPU = Runtime(device="cpu")


def pairs() -> Pairs:
    """Three right labels of four."""
    chosen, rejected = ["good", "good", "good", "bad"], ["bad", "bad", "so", "good"]
    names = ["t8", "t9", "t10", "t11"]
    prompts = [f"a post about {name}" for name in names]
    return Pairs(names, Preferences(prompts, chosen, rejected, [1.0] * 4), np.full(4, 0.75))


def forbidden() -> Pairs:
    raise AssertionError("made again")


@pytest.fixture
def lab(inputs: StudyInputs, tmp_path: Path) -> Lab:
    """Students are networks here, so that `asked` sees every training."""
    learn(inputs, "network")
    return Lab(inputs, tmp_path, CPU)


def learn(inputs: StudyInputs, learner: Learner) -> None:
    """Change what `student_rm` trains, of inputs that hold data of their own."""
    section = inputs.params.student_rm.model_copy(update={"learner": learner})
    params = inputs.params.model_copy(update={"student_rm": section})
    object.__setattr__(inputs, "params", params)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """How the training function was called."""
    train, calls = module.train_reward_model, []

    def spy(*arguments: Any) -> TrainedReward:
        calls.append(arguments)
        return train(*arguments)

    monkeypatch.setattr(module, "train_reward_model", spy)
    return calls


def test_an_arm_is_its_numbers(lab: Lab) -> None:
    lab.student("arm", lab.labeled, pairs(), note={"n": 64})
    found = lab.arms["arm"]
    assert {type(value) for value in found.values()} <= {int, float}
    assert (found["human_pairs"], found["synthetic_pairs"], found["n"]) == (8, 4, 64)
    assert found["label_accuracy"] == 0.75
    assert 0 < found["best_step"] <= 4
    assert found.keys() >= {"accuracy", "on_policy_accuracy", "best_of_n_gold"}


def test_what_every_arm_is_measured_on_is_tokenised_once(lab: Lab, tokenised: list[str]) -> None:
    trained = Ensemble.of(lab.train("arm", lab.labeled).scorer)
    tokenised.clear()
    first = lab.measure("arm", trained)
    test = {*lab.inputs.test["chosen"], *lab.inputs.test_pools.prompts}
    assert test <= {*tokenised}
    assert len(tokenised) == len({*tokenised})
    tokenised.clear()
    assert lab.measure("arm", trained) == first
    assert tokenised == []


def test_an_arm_of_human_pairs_has_no_synthetic_ones(lab: Lab) -> None:
    lab.student("arm", lab.labeled)
    assert lab.arms["arm"]["synthetic_pairs"] == 0
    assert "label_accuracy" not in lab.arms["arm"]


def test_arms_differ_in_their_data_alone(lab: Lab, asked: list[Any]) -> None:
    lab.student("one", lab.labeled)
    lab.student("two", lab.labeled, pairs())
    (_, first, recipe, scratch, runtime), (_, second, *others) = asked
    assert first.human == second.human == lab.labeled
    assert (first.synthetic, second.synthetic) == (None, pairs().preferences)
    assert first.validation == second.validation
    assert {*first.validation.prompts} == {f"a post about v{i}" for i in range(6)}
    assert first.synthetic_fraction == second.synthetic_fraction
    assert [recipe, runtime] == [others[0], others[2]]
    assert scratch != others[1]
    assert recipe.policy == lab.inputs.policy_folder
    assert recipe.params == lab.inputs.params.student_rm
    assert recipe.seed == lab.inputs.seed


def test_an_arm_says_what_else_differs(lab: Lab, asked: list[Any]) -> None:
    params = lab.inputs.params.student_rm.model_copy(update={"dropout": 0.5})
    lab.student("arm", lab.labeled, pairs(), params=params, fraction=0.25, seed=7)
    ((_, sets, recipe, *_),) = asked
    assert recipe.params.dropout == 0.5
    assert (sets.synthetic_fraction, recipe.seed) == (0.25, 7)


def test_a_linear_arm_is_measured_as_others_and_says_its_prior(lab: Lab, asked: list[Any]) -> None:
    lab.student("ridge", lab.labeled, learner="linear_head")
    lab.student("prior", lab.labeled, pairs(), learner="linear_head", powers=(1.0,))
    assert asked == []  # no network is trained
    ridge, prior = lab.arms["ridge"], lab.arms["prior"]
    assert (ridge["covariance_power"], prior["covariance_power"]) == (0.0, 1.0)
    assert (ridge["synthetic_pairs"], prior["synthetic_pairs"]) == (0, 4)
    assert prior["label_accuracy"] == 0.75
    for arm in (ridge, prior):
        assert arm.keys() >= {"accuracy", "on_policy_accuracy", "best_of_n_gold", "penalty"}
        assert {type(value) for value in arm.values()} <= {int, float}


def test_students_learn_as_student_rm_says_and_teachers_are_networks(
    lab: Lab, asked: list[Any]
) -> None:
    learn(lab.inputs, "linear_head")
    lab.student("arm", lab.labeled)
    assert asked == []
    assert "penalty" in lab.arms["arm"]
    lab.teacher("teacher", lab.labeled)
    lab.student("network", lab.labeled, learner="network")
    assert len(asked) == 2


def test_a_teacher_follows_the_recipe_of_base_rm(lab: Lab, asked: list[Any]) -> None:
    teacher = lab.teacher("teacher", lab.labeled)
    ((_, _, recipe, *_),) = asked
    base = lab.inputs.params.base_rm
    assert recipe.params == base
    assert recipe.head == Head(base.comparator, base.planes)
    assert teacher.comparator.name == base.comparator


def test_a_measured_arm_is_neither_trained_nor_are_its_pairs_made_again(
    lab: Lab, asked: list[Any]
) -> None:
    lab.student("arm", lab.labeled, pairs)
    again = Lab(lab.inputs, lab.folder, CPU)
    again.student("arm", again.labeled, forbidden)
    assert len(asked) == 1
    assert again.arms == lab.arms


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_costs_one_line_and_is_measured_again(
    damage: str, lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[int] = []

    def work() -> Record:
        calls.append(1)
        return {"accuracy": 0.1 + 0.2, "rows": 3}

    first = lab.remembered("arm", work)
    assert first == lab.remembered("arm", work) == {"accuracy": 0.1 + 0.2, "rows": 3}
    DAMAGES[damage](lab.folder / "arm.json")
    assert lab.remembered("arm", work) == first
    assert len(calls) == 2
    lines = warnings(capsys)
    assert len(lines) == (damage != "deleted")
    assert all("arm.json" in line and line.endswith("computed again") for line in lines)


def test_the_pairs_of_an_arm_that_was_not_measured_are_made(lab: Lab) -> None:
    with pytest.raises(AssertionError, match="made again"):
        lab.student("arm", lab.labeled, forbidden)


def test_a_killed_part_goes_on_with_the_arm_at_which_it_was_killed(
    lab: Lab, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def part(here: Lab) -> None:
        here.student("one", here.labeled)
        here.student("two", here.labeled, pairs())

    whole = Lab(lab.inputs, lab.folder / "whole", CPU)
    part(whole)
    measure: Callable[..., Any] = Lab.measure

    def killed(here: Lab, name: str, model: Any) -> Any:
        if name == "two":
            raise KeyboardInterrupt
        return measure(here, name, model)

    monkeypatch.setattr(Lab, "measure", killed)
    with pytest.raises(KeyboardInterrupt):
        part(lab)
    monkeypatch.setattr(Lab, "measure", measure)
    asked.clear()
    resumed = Lab(lab.inputs, lab.folder, CPU)
    part(resumed)
    assert [arguments[0] for arguments in asked] == ["two"]
    assert resumed.arms == whole.arms
    assert list(resumed.arms) == ["one", "two"]


def test_training_leaves_nothing_in_scratch_but_the_numbers(lab: Lab) -> None:
    lab.student("arm", lab.labeled)
    assert [path.name for path in lab.folder.iterdir()] == ["arm.json"]


def test_records_are_kept_by_table_in_order(lab: Lab) -> None:
    lab.record("theorem", n=2)
    lab.record("theorem", n=4)
    lab.record("epsilon", quantile=1.0)
    assert lab.tables == {"theorem": [{"n": 2}, {"n": 4}], "epsilon": [{"quantile": 1.0}]}
