"""What a part reads of the main pipeline."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from tests.small_models import tiny_scorer
from westofn.models.ensemble import Ensemble, load_reward_models
from westofn.models.saved_reward import save_reward_model
from westofn.models.scoring import pool_margins
from westofn.study.inputs import StudyInputs, mean_margins, west_of_n
from westofn.text.encoding import Encoder


def test_hf50_has_the_pairs_whose_prompts_are_not_sampled(inputs: StudyInputs) -> None:
    labeled = set(inputs.labeled["prompt_id"])
    assert labeled == {f"t{i}" for i in range(8)}
    assert set(inputs.unlabeled.prompt_ids) == {f"t{i}" for i in range(8, 12)}
    assert inputs.human.train.height == 12
    assert set(inputs.test["split"]) == {"test"}
    assert not labeled & set(inputs.test_pools.prompt_ids)


def test_pools_have_the_texts_of_their_prompts(inputs: StudyInputs) -> None:
    pools = inputs.unlabeled
    assert pools.prompts == [f"a post about {name}" for name in pools.prompt_ids]
    assert pools.n_candidates == 3
    assert inputs.test_pools_judged.tolist() == [[1.0, -1.0, 2.0]] * 4


def test_models_that_read_text_as_the_policy_does_share_an_encoder(inputs: StudyInputs) -> None:
    here = inputs.policy.encoder
    same = tiny_scorer(Encoder(here.tokenizer, 8, 24), "pointwise")
    shorter = tiny_scorer(Encoder(here.tokenizer, 7, 24), "pointwise")
    shared = inputs.reading_alike(same)
    assert shared.encoder is inputs.encoder is not same.encoder
    assert shared.model is same.model
    assert inputs.reading_alike(shorter) is shorter
    pools = inputs.unlabeled
    margins = [pool_margins(one, pools.prompts, pools.responses) for one in (same, shared)]
    assert torch.equal(*margins)


def test_the_base_model_reads_with_the_shared_encoder(inputs: StudyInputs, tmp_path: Path) -> None:
    shutil.copytree(inputs.data, tmp_path / "data")
    here = StudyInputs(inputs.params, tmp_path / "data", "cpu")
    base = tiny_scorer(here.policy.encoder, "embedding")
    save_reward_model(base, here.base_folder, [("a post", "good")], {})
    assert all(member.encoder is here.encoder for member in here.base.members)
    alone = load_reward_models(here.base_folder)
    assert torch.equal(here.base_margins, mean_margins(alone, here.unlabeled))
    assert here.west.preferences == west_of_n(alone, here.unlabeled).preferences


def test_margins_of_an_ensemble_are_the_members_mean(
    inputs: StudyInputs, small_encoder: Encoder
) -> None:
    members = [tiny_scorer(small_encoder, "embedding", seed) for seed in (1, 2)]
    pools = inputs.unlabeled
    alone = [pool_margins(one, pools.prompts, pools.responses) for one in members]
    both = mean_margins(Ensemble(tuple(members)), pools)
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2)
    assert not torch.allclose(alone[0], alone[1])
