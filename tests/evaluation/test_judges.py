from __future__ import annotations

import numpy as np
import pytest

from westofn.errors import ModelError
from westofn.evaluation.judges import AutoraterJudge, GoldJudge, margins, sigmoid
from westofn.models.scoring import score_rows
from westofn.params.prepare import WorldParams
from westofn.sources.world.gold import Gold
from westofn.sources.world.load import load_world

WORLD = WorldParams(
    alignment=0.0,
    off_policyness=0.0,
    sft_examples=20,
    train_pairs=8,
    validation_pairs=4,
    test_pairs=12,
    test_prompts=4,
    extra_prompts=0,
    annotator_temperature=2.0,
)


def test_the_gold_judge_is_the_annotator_of_the_world_with_its_temperature():
    data = load_world(WORLD, 0)
    test = data.preferences.filter(split="test")
    columns = [test[name].to_list() for name in ("prompt_id", "prompt", "chosen", "rejected")]
    judge = GoldJudge.from_frame(data.world)
    rewards = [Gold.from_frame(data.world).rewards(columns[0], side) for side in columns[2:]]
    expected = 1 / (1 + np.exp(-(rewards[0] - rewards[1]) / 2.0))
    assert judge.name == "gold"
    p = judge.p_from_margins(margins(judge, *columns))
    np.testing.assert_allclose(p, expected, rtol=1e-6)
    assert np.ptp(expected) > 0.1


def test_gold_ties_do_not_depend_on_the_order_of_a_sum():
    class Sums:
        temperature = 1.0

        def rewards(self, prompt_ids, responses):
            return np.array([{"one": 0.1 + 0.2, "other": 0.3}[name] for name in responses])

    assert 0.1 + 0.2 != 0.3
    assert margins(GoldJudge(Sums()), ["p"], ["x"], ["one"], ["other"]).tolist() == [0.0]


def test_the_autorater_gives_each_row_its_own_reward_whatever_the_order_of_prompts(untrained):
    scorer = untrained("pointwise")
    prompts = ["a post", "a post about cats", "a post", "a post"]
    responses = ["good", "so good", "bad bad", "good"]
    rewards = AutoraterJudge(scorer).rewards(["-"] * 4, prompts, responses)
    np.testing.assert_allclose(rewards, score_rows(scorer, prompts, responses)[:, 0], atol=1e-5)
    assert rewards[0] == rewards[3]
    assert rewards[0] != rewards[2]


def test_the_autorater_prefers_by_the_sigmoid_of_the_difference(planted):
    judge = AutoraterJudge(planted(1.0))
    assert judge.name == "autorater"
    difference = margins(judge, ["a", "b"], ["x", "x"], ["good good", "bad"], ["good", "bad"])
    np.testing.assert_allclose(judge.p_from_margins(difference), [1 / (1 + np.exp(-1)), 0.5])


def test_a_pairwise_model_cannot_be_the_autorater(untrained):
    with pytest.raises(ModelError, match="autorater needs a pointwise reward model"):
        AutoraterJudge(untrained("embedding"))


def test_a_large_margin_does_not_overflow():
    assert sigmoid(np.array([-1e5, 1e5])).tolist() == [0.0, 1.0]
