"""Rewards and margins: antisymmetric, and a function of (prompt, response) alone."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tests.small_families import tiny_model
from tests.small_models import (
    COMPARATORS,
    PROMPTS,
    READOUTS,
    RESPONSES,
    tiny_backbone,
    tiny_scorer,
)
from tests.tiny_encoders import write_encoder
from westofn.errors import ModelError
from westofn.models import scoring
from westofn.models.reward import RewardModel, Scorer, with_reward_statistics
from westofn.models.scoring import pair_margins, score_pools, score_rows
from westofn.networks.encoder_decoder import PromptStates
from westofn.networks.pretrained import load_pretrained
from westofn.params.comparator import ComparatorName
from westofn.params.network import Readout
from westofn.text.encoding import Encoder, Padded, pad
from westofn.text.model_files import FAMILY_OF

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
Scorers = Callable[[ComparatorName], Scorer]
OTHERS = ["a sun", "so long", "the moon hid", "good"]


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_the_probabilities_of_both_orders_add_up_to_one(
    comparator: ComparatorName, scorers: Scorers
) -> None:
    forth = pair_margins(scorers(comparator), PROMPTS, RESPONSES, OTHERS)
    back = pair_margins(scorers(comparator), PROMPTS, OTHERS, RESPONSES)
    torch.testing.assert_close(forth.sigmoid() + back.sigmoid(), torch.ones(4))
    torch.testing.assert_close(forth, -back, **CLOSE)
    assert float(forth.abs().min()) > 1e-4


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_a_response_against_itself_is_a_tie(comparator: ComparatorName, scorers: Scorers) -> None:
    margins = pair_margins(scorers(comparator), PROMPTS, RESPONSES, RESPONSES)
    torch.testing.assert_close(margins, torch.zeros(4), **CLOSE)


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_rescaling_multiplies_every_margin(comparator: ComparatorName, scorers: Scorers) -> None:
    scorer = deepcopy(scorers(comparator))
    before = pair_margins(scorer, PROMPTS, RESPONSES, OTHERS)
    scorer.model.rescale(3.0)
    torch.testing.assert_close(
        pair_margins(scorer, PROMPTS, RESPONSES, OTHERS), 3 * before, **CLOSE
    )


@pytest.mark.parametrize("comparator", COMPARATORS)
@pytest.mark.parametrize("batch", [1, 3])
def test_margins_do_not_depend_on_the_batch(
    comparator: ComparatorName, batch: int, scorers: Scorers
) -> None:
    scorer = scorers(comparator)
    whole = pair_margins(scorer, PROMPTS, RESPONSES, OTHERS)
    split = pair_margins(scorer, PROMPTS, RESPONSES, OTHERS, batch=batch)
    torch.testing.assert_close(split, whole, **CLOSE)
    torch.testing.assert_close(
        pair_margins(scorer, PROMPTS[::-1], RESPONSES[::-1], OTHERS[::-1]), whole.flip(0), **CLOSE
    )


class FirstIsBetter(RewardModel):
    """A judge that counts "good" words, and adds 5 for whatever it reads first."""

    good: Tensor
    end: int

    def features(self, states: PromptStates, responses: Padded) -> Tensor:
        assert len(states.bias) == len(responses.ids)
        before = (responses.ids == self.end).cumsum(-1) == 0
        hits = torch.isin(responses.ids, self.good) & responses.mask
        first, second = (hits & before).sum(-1), (hits & ~before).sum(-1)
        return (first - second + 5.0).unsqueeze(-1)


def test_a_position_bias_of_a_joint_judge_cancels(
    small_encoder: Encoder, words: PreTrainedTokenizerFast
) -> None:
    model = FirstIsBetter(tiny_backbone(small_encoder), "joint", 0)
    model.good = torch.tensor(words.convert_tokens_to_ids(["good", " good"]))
    model.end = small_encoder.eos_id
    scorer = Scorer(model.eval(), small_encoder)
    chosen, rejected = ["good good", "bad", "good", "so"], ["good", "good good", "a good", "so"]
    margins = pair_margins(scorer, PROMPTS, chosen, rejected)
    # 2 − 1, 0 − 2, 1 − 1 and 0 − 0; the first place's 5 is in neither.
    assert margins.tolist() == [1.0, -2.0, 0.0, 0.0]
    assert pair_margins(scorer, PROMPTS, rejected, chosen).tolist() == [-1.0, 2.0, 0.0, 0.0]


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("batch", [1, 2, 64])
def test_a_score_does_not_depend_on_its_neighbours(
    batch: int, readout: Readout, small_encoder: Encoder
) -> None:
    scorer = tiny_scorer(small_encoder, "embedding", readout=readout)
    alone = torch.cat(
        [score_rows(scorer, [x], [y]) for x, y in zip(PROMPTS, RESPONSES, strict=True)]
    )
    long = ["the cat sat on the red moon so long" * 3]
    beside = score_rows(scorer, PROMPTS + PROMPTS[:1], RESPONSES + long, batch=batch)
    torch.testing.assert_close(beside[:4], alone, **CLOSE)


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_ragged_pools_score_like_single_rows(batch: int, scorers: Scorers) -> None:
    scorer = scorers("embedding")
    pools = [["good"], RESPONSES, ["", "a dog", "so long so long"], ["bad", "bad dog"]]
    scored = score_pools(scorer, PROMPTS, pools, batch=batch)
    assert [len(pool) for pool in scored] == [1, 4, 3, 2]
    for prompt, pool, features in zip(PROMPTS, pools, scored, strict=True):
        one_by_one = score_rows(scorer, [prompt] * len(pool), pool, batch=1)
        torch.testing.assert_close(features, one_by_one, **CLOSE)


@pytest.mark.parametrize("model_type", ["t5", "llama", "bert"])
@pytest.mark.parametrize("comparator", ["pointwise", "joint"])
def test_scores_do_not_depend_on_the_memory_of_a_pass(
    comparator: ComparatorName,
    model_type: str,
    words: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Passes fit into the memory that they may take, down to a row at a time."""
    scorer = _scorer_of(model_type, comparator, words, tmp_path)
    network, pools = scorer.model.network, [RESPONSES + OTHERS, OTHERS, RESPONSES, OTHERS]
    taken: list[int] = []
    sizes: list[int] = []
    original = RewardModel.features

    def spy(self: RewardModel, states: Any, responses: Padded) -> Tensor:
        prompts, rows, tokens = responses.ids.shape
        longest = max(map(len, scorer.encoder.prompts(PROMPTS)))
        taken.append(network.read_bytes(prompts, longest, rows, tokens))
        sizes.append(prompts * rows)
        return original(self, states, responses)

    def score() -> list[Tensor]:
        taken.clear()
        sizes.clear()
        margins = pair_margins(scorer, PROMPTS, RESPONSES, OTHERS)
        return [margins, *score_pools(scorer, PROMPTS, pools)]

    monkeypatch.setattr(RewardModel, "features", spy)
    expected = score()
    needed, most = max(taken), max(sizes)
    for limit, largest in ((needed, most), (needed // 3, most // 2), (1, 2)):
        monkeypatch.setattr(scoring, "pass_bytes", lambda _, limit=limit: limit)
        torch.testing.assert_close(score(), expected, **CLOSE)
        assert max(sizes) <= largest
        assert max(taken) <= limit or limit == 1


def _scorer_of(
    model_type: str, comparator: ComparatorName, words: PreTrainedTokenizerFast, folder: Path
) -> Scorer:
    """An untrained reward model of a family."""
    encoder = Encoder(words, 10, 8, FAMILY_OF[model_type])
    if model_type == "bert":
        model, encoder = load_pretrained(
            str(write_encoder(model_type, folder / model_type)),
            "reward_start.model",
            max_prompt_tokens=30,
            max_response_tokens=24,
        )
    else:
        model = tiny_model(model_type, encoder)
    reward = RewardModel(model, comparator, 2)
    torch.nn.init.normal_(reward.head.weight, std=0.7)
    return Scorer(reward.eval(), encoder)


def test_equal_responses_are_scored_once_and_get_the_same_score(
    scorers: Scorers, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, seen = scorers("pointwise"), []
    original = RewardModel.features

    def spy(self: RewardModel, states: PromptStates, responses: Padded) -> Tensor:
        seen.append(responses.ids.shape[:2])
        return original(self, states, responses)

    monkeypatch.setattr(RewardModel, "features", spy)
    pool = ["good", "bad", "good", "good", "bad", "so"]
    (features,) = score_pools(scorer, PROMPTS[:1], [pool])
    assert seen == [(1, 3)]
    assert features[0] == features[2] == features[3]
    assert features[1] == features[4]
    assert len(features.unique()) == 3


def test_no_rows_and_no_pools_give_no_scores(scorers: Scorers) -> None:
    assert score_rows(scorers("embedding"), [], []).shape == (0, 5)
    assert score_pools(scorers("embedding"), [], []) == []
    assert pair_margins(scorers("embedding"), [], [], []).shape == (0,)
    assert pair_margins(scorers("joint"), [], [], []).shape == (0,)


@pytest.mark.parametrize("readout", READOUTS)
@torch.no_grad()
def test_the_head_reads_transformers_states_of_the_response(
    readout: Readout, small_encoder: Encoder
) -> None:
    scorer = tiny_scorer(small_encoder, "pointwise", readout=readout)
    rewards = score_rows(scorer, PROMPTS, RESPONSES)[:, 0]
    encoder, model = scorer.encoder, scorer.model
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        (ids,) = encoder.responses([response])
        assert ids[-1] == encoder.eos_id
        states = model.backbone(
            input_ids=torch.tensor(encoder.prompts([prompt])),
            decoder_input_ids=torch.tensor([[encoder.pad_id, *ids]]),
            output_hidden_states=True,
        ).decoder_hidden_states[-1]
        # Of its end token, or the mean over its tokens; the start token's state is in neither.
        read = states[0, -1] if readout == "last" else states[0, 1:].mean(0)
        assert float(rewards[row]) == pytest.approx(float(model.head(read)), abs=1e-5)


def test_the_head_stays_in_fp32_on_a_bf16_backbone(small_encoder: Encoder) -> None:
    scorer = tiny_scorer(small_encoder, "embedding")
    scorer.model.backbone.to(torch.bfloat16)
    exact = score_rows(tiny_scorer(small_encoder, "embedding"), PROMPTS, RESPONSES)
    rounded = score_rows(scorer, PROMPTS, RESPONSES)
    assert scorer.model.head.weight.dtype == rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0.2, rtol=0.1)


@pytest.mark.parametrize(("comparator", "outputs"), [("embedding", 5), ("joint", 1)])
def test_the_head_is_as_wide_as_its_comparator_needs(
    comparator: ComparatorName, outputs: int, scorers: Scorers
) -> None:
    assert scorers(comparator).model.head.out_features == outputs
    assert scorers(comparator).model.planes == (outputs - 1) // 2


def test_dropout_of_the_read_out_acts_in_training_only(small_encoder: Encoder) -> None:
    model = RewardModel(tiny_backbone(small_encoder), "pointwise", 0, "last", 0.5)
    torch.nn.init.ones_(model.head.weight)
    rows = pad(small_encoder.responses(RESPONSES), small_encoder.pad_id)
    prompts = pad(small_encoder.prompts(PROMPTS), small_encoder.pad_id)

    def features() -> Tensor:
        states = model.prompt_states(prompts)
        return model.features(states, Padded(rows.ids[:, None], rows.mask[:, None])).detach()

    model.eval()
    assert torch.equal(features(), features())
    model.train()
    assert not torch.allclose(features(), features(), atol=1e-3)


def test_a_pairwise_model_is_refused_where_a_reward_is_needed(scorers: Scorers) -> None:
    scorers("pointwise").require_pointwise("rlhf")
    for comparator in ("embedding", "joint"):
        with pytest.raises(ModelError, match=rf"^rlhf needs a pointwise .* is {comparator}$"):
            scorers(comparator).require_pointwise("rlhf")  # type: ignore[arg-type]


def test_the_statistics_are_of_a_pointwise_model_only(scorers: Scorers) -> None:
    # Of 1, 2, 3: mean 2, sample variance (1 + 0 + 1) / 2.
    rewards = torch.tensor([1.0, 2.0, 3.0])
    measured = with_reward_statistics(scorers("pointwise"), rewards)
    assert (measured.reward_mean, measured.reward_std) == (2.0, 1.0)
    assert with_reward_statistics(scorers("embedding"), rewards).reward_mean == 0.0
    assert with_reward_statistics(scorers("pointwise"), torch.ones(3)).reward_std > 0
