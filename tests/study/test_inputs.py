"""What a part reads of the main pipeline."""

from __future__ import annotations

import torch

from tests.small_models import tiny_scorer
from westofn.models.encoding import Encoder
from westofn.models.ensemble import Ensemble
from westofn.pairing.select import pool_margins
from westofn.study.inputs import StudyInputs, mean_margins


def test_hf50_has_the_pairs_whose_prompts_are_not_sampled(inputs: StudyInputs) -> None:
    labeled = set(inputs.labeled["prompt_id"])
    assert labeled == {f"t{i}" for i in range(8)}
    assert set(inputs.unlabeled.prompt_ids) == {f"t{i}" for i in range(8, 12)}
    assert inputs.human.train.height == 12
    assert set(inputs.test["split"]) == {"test"}
    assert not labeled & set(inputs.test_pool.prompt_ids)


def test_pools_have_the_texts_of_their_prompts(inputs: StudyInputs) -> None:
    pools = inputs.unlabeled
    assert pools.prompts == [f"a post about {name}" for name in pools.prompt_ids]
    assert pools.n_candidates == 3
    assert inputs.test_pool_judged.tolist() == [[1.0, -1.0, 2.0]] * 4


def test_margins_of_an_ensemble_are_the_members_mean(
    inputs: StudyInputs, small_encoder: Encoder
) -> None:
    members = [tiny_scorer(small_encoder, "embedding", seed) for seed in (1, 2)]
    pools = inputs.unlabeled
    alone = [pool_margins(one, pools.prompts, pools.responses) for one in members]
    both = mean_margins(Ensemble(tuple(members)), pools)
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2)
    assert not torch.allclose(alone[0], alone[1])
