"""Several reward models in one folder, read as one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.small_models import COMPARATORS, PROMPTS, RESPONSES, tiny_scorer
from westofn.errors import ModelError
from westofn.models.card import describe_model, member_folder, write_ensemble
from westofn.models.ensemble import Ensemble, load_reward_models, mean_pair_margins, mean_rewards
from westofn.models.reward import Scorer
from westofn.models.saved_reward import save_reward_model
from westofn.models.scoring import pair_margins, score_rows
from westofn.params.comparator import ComparatorName
from westofn.text.encoding import Encoder

CANARIES = [("the cat", "good"), ("sun", "bad")]


@pytest.fixture
def saved(small_encoder: Encoder, tmp_path: Path) -> Path:
    """An ensemble of two pointwise models."""
    for index in range(2):
        scorer = tiny_scorer(small_encoder, "pointwise", seed=index)
        facts: dict[str, float | int | str] = {"steps": 8, "best_step": 4 * (index + 1)}
        save_reward_model(scorer, member_folder(tmp_path / "rm", index), CANARIES, facts)
    write_ensemble(tmp_path / "rm", 2)
    return tmp_path / "rm"


def test_members_come_back_in_their_order(saved: Path, small_encoder: Encoder) -> None:
    loaded = load_reward_models(saved)
    assert (loaded.comparator.name, len(loaded.members)) == ("pointwise", 2)
    for index, member in enumerate(loaded.members):
        expected = tiny_scorer(small_encoder, "pointwise", seed=index).model.state_dict()
        found = member.model.state_dict()
        assert all(torch.equal(found[name], weight) for name, weight in expected.items())


def test_a_single_model_is_an_ensemble_of_one(saved: Path) -> None:
    alone = load_reward_models(member_folder(saved, 1))
    assert len(alone.members) == 1
    prompts = PROMPTS[: len(RESPONSES)]
    assert torch.equal(
        mean_pair_margins(alone, prompts, RESPONSES, RESPONSES[::-1]),
        pair_margins(alone.members[0], prompts, RESPONSES, RESPONSES[::-1]),
    )


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_the_margin_of_several_is_their_mean_and_skew_symmetric(
    comparator: ComparatorName, small_encoder: Encoder
) -> None:
    one, two = (tiny_scorer(small_encoder, comparator, seed) for seed in (0, 1))
    prompts, other = PROMPTS[: len(RESPONSES)], RESPONSES[::-1]
    both = Ensemble.of(one, two)
    found = mean_pair_margins(both, prompts, RESPONSES, other)
    first, second = (pair_margins(m, prompts, RESPONSES, other) for m in (one, two))
    assert not torch.equal(first, second)
    torch.testing.assert_close(found, (first + second) / 2)
    assert torch.equal(found, -mean_pair_margins(both, prompts, other, RESPONSES))


def test_the_reward_of_several_is_their_mean(small_encoder: Encoder) -> None:
    one, two = (tiny_scorer(small_encoder, "pointwise", seed) for seed in (0, 1))
    found = mean_rewards(Ensemble.of(one, two), ["sun"], [RESPONSES])
    prompts = ["sun"] * len(RESPONSES)
    each = [score_rows(member, prompts, RESPONSES)[:, 0] for member in (one, two)]
    torch.testing.assert_close(found, ((each[0] + each[1]) / 2)[None])


def test_pairwise_members_have_no_reward(scorers: Callable[[ComparatorName], Scorer]) -> None:
    with pytest.raises(ModelError, match="needs a pointwise reward model, this one is joint"):
        mean_rewards(Ensemble.of(scorers("joint")), ["sun"], [RESPONSES])


def test_a_member_that_is_missing_or_one_too_many_is_refused(saved: Path) -> None:
    shutil.copytree(member_folder(saved, 1), member_folder(saved, 2))
    with pytest.raises(ModelError, match="members is 2, the folder holds 3 of member-"):
        load_reward_models(saved)
    shutil.rmtree(member_folder(saved, 0))
    with pytest.raises(ModelError, match="rm/member-0 is missing; run `dvc repro`"):
        load_reward_models(saved)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "[2]",
        '{"members": 1}',
        '{"members": -2}',
        '{"members": "2"}',
        '{"members": 2.0}',
        '{"members": true}',
        '{"members": NaN}',
        '{"members": 1000000000}',
        '{"members": 2, "more": 1}',
    ],
)
def test_a_damaged_count_is_refused(text: str, saved: Path) -> None:
    (saved / "ensemble.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"ensemble\.json is damaged .*; rerun the stage"):
        load_reward_models(saved)


def test_members_of_different_kinds_are_refused(
    scorers: Callable[[ComparatorName], Scorer],
) -> None:
    with pytest.raises(ModelError, match="member 1 of an ensemble is joint, member 0 is pointwise"):
        Ensemble.of(scorers("pointwise"), scorers("joint"))
    with pytest.raises(ModelError, match="an ensemble of 0 reward models"):
        Ensemble.of()


def test_members_that_read_text_differently_are_refused(
    scorers: Callable[[ComparatorName], Scorer], small_encoder: Encoder
) -> None:
    shorter = Encoder(small_encoder.tokenizer, max_prompt_tokens=4, max_response_tokens=8)
    with pytest.raises(ModelError, match="member 1 of an ensemble has another tokenizer"):
        Ensemble.of(scorers("pointwise"), tiny_scorer(shorter, "pointwise"))


def test_a_description_names_what_differs_between_members(saved: Path) -> None:
    assert describe_model(saved) == {
        "members": "2",
        "family": "encoder_decoder",
        "comparator": "pointwise",
        "steps": "8",
        "best_step": "4, 8",
    }
    single = describe_model(member_folder(saved, 0))
    assert (single["best_step"], "members" in single) == ("4", False)
    assert json.loads((saved / "ensemble.json").read_text()) == {"members": 2}
