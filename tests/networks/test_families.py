"""What holds for policies and reward models of every type of model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.resealed import reseal
from tests.small_families import GENERATORS, tiny_model
from tests.small_models import COMPARATORS, PROMPTS, READOUTS, RESPONSES
from westofn.errors import ModelError
from westofn.models.policy import Policy, load_policy, log_likelihood, save_policy
from westofn.models.reward import RewardModel, Scorer
from westofn.models.saved_reward import load_reward_model, save_reward_model
from westofn.models.scoring import pair_margins, score_rows
from westofn.networks.families import load_backbone
from westofn.params.comparator import ComparatorName
from westofn.params.network import Readout
from westofn.text.encoding import Encoder
from westofn.text.model_files import FAMILY_OF, Family

EXACT = {"atol": 1e-5, "rtol": 1e-5}
# One prompt in four is a single token; some texts spell what ends one, and what pads it.
TYPED = ["the cat sat", "sun", "a dog </s> ran <pad>", "so long a blue cat hid on the sun"]


def _encoder(model_type: str, words: PreTrainedTokenizerFast) -> Encoder:
    return Encoder(words, 10, 8, FAMILY_OF[model_type])


def _scorer(
    model_type: str, encoder: Encoder, comparator: ComparatorName, readout: Readout = "mean"
) -> Scorer:
    model = RewardModel(tiny_model(model_type, encoder), comparator, 2, readout)
    torch.nn.init.normal_(model.head.weight, std=0.7)
    return Scorer(model.eval(), encoder)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("model_type", GENERATORS)
def test_a_reward_depends_on_its_own_texts_alone(
    model_type: str, readout: Readout, words: PreTrainedTokenizerFast
) -> None:
    encoder = _encoder(model_type, words)
    scorer = _scorer(model_type, encoder, "embedding", readout)
    together = score_rows(scorer, TYPED, RESPONSES)
    assert together.std(0).min() > 0.05
    for row in range(4):
        alone = score_rows(scorer, TYPED[row : row + 1], RESPONSES[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], **EXACT)
    encoder.pad_id = encoder.eos_id
    torch.testing.assert_close(score_rows(scorer, TYPED, RESPONSES), together, **EXACT)


@pytest.mark.parametrize("comparator", COMPARATORS)
@pytest.mark.parametrize("model_type", GENERATORS)
def test_margins_change_sign_with_the_order_and_not_with_the_batch(
    model_type: str, comparator: ComparatorName, words: PreTrainedTokenizerFast
) -> None:
    scorer = _scorer(model_type, _encoder(model_type, words), comparator)
    others = RESPONSES[1:] + RESPONSES[:1]
    margins = pair_margins(scorer, TYPED, RESPONSES, others)
    assert margins.abs().max() > 0.05
    torch.testing.assert_close(pair_margins(scorer, TYPED, others, RESPONSES), -margins, **EXACT)
    single = pair_margins(scorer, TYPED, RESPONSES, others, batch=1)
    torch.testing.assert_close(single, margins, **EXACT)


@pytest.mark.parametrize("model_type", GENERATORS)
def test_log_likelihoods_depend_on_their_own_texts_alone(
    model_type: str, words: PreTrainedTokenizerFast
) -> None:
    encoder = _encoder(model_type, words)
    policy = Policy(tiny_model(model_type, encoder), encoder)
    together = log_likelihood(policy, TYPED, RESPONSES).logprob
    single = log_likelihood(policy, TYPED, RESPONSES, tokens_a_batch=1).logprob
    torch.testing.assert_close(single, together, **EXACT)
    assert (together < -0.1).all()
    encoder.pad_id = encoder.eos_id
    again = log_likelihood(policy, TYPED, RESPONSES).logprob
    torch.testing.assert_close(again, together, **EXACT)


@pytest.mark.parametrize("model_type", GENERATORS)
def test_log_likelihoods_are_minus_the_loss_of_transformers_own_labels(
    model_type: str, words: PreTrainedTokenizerFast
) -> None:
    encoder = _encoder(model_type, words)
    model: Any = tiny_model(model_type, encoder)
    found = log_likelihood(Policy(model, encoder), TYPED, RESPONSES).logprob
    rows = zip(encoder.prompts(TYPED), encoder.responses(RESPONSES), strict=True)
    for index, (prompt, response) in enumerate(rows):
        if FAMILY_OF[model_type] == "causal":
            labels = torch.tensor([[-100] * len(prompt) + response])
            loss = model(input_ids=torch.tensor([prompt + response]), labels=labels).loss
        else:
            loss = model(input_ids=torch.tensor([prompt]), labels=torch.tensor([response])).loss
        torch.testing.assert_close(found[index], -loss * len(response), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("family", ["causal", "encoder_decoder"])
def test_a_prompt_is_cut_on_its_left_and_a_response_never(
    family: Family, words: PreTrainedTokenizerFast
) -> None:
    encoder = Encoder(words, 4, 2, family)
    prompt, response = "the cat sat on red moon", "so" + " so" * 9
    end = ["</s>"] if family == "encoder_decoder" else []
    kept = [" sat", " on", " red", " moon"][len(end) :]
    assert words.convert_ids_to_tokens(encoder.prompts([prompt])[0]) == kept + end
    ids = encoder.responses([response])[0]
    assert (len(ids), ids.count(encoder.eos_id), ids[-1]) == (11, 1, encoder.eos_id)
    assert encoder.decode([ids]) == [response]
    assert encoder.fits(["a cat", response]) == [True, False]


@pytest.mark.parametrize("model_type", GENERATORS)
def test_saved_models_answer_as_they_did(
    model_type: str, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    encoder = _encoder(model_type, words)
    canaries = list(zip(PROMPTS, RESPONSES, strict=True))
    policy = Policy(tiny_model(model_type, encoder), encoder)
    save_policy(policy, tmp_path / "policy", canaries, {})
    again = load_policy(tmp_path / "policy")
    assert again.encoder.template == encoder.template
    assert again.encoder.prompts(TYPED) == encoder.prompts(TYPED)
    torch.testing.assert_close(
        log_likelihood(again, TYPED, RESPONSES).logprob,
        log_likelihood(policy, TYPED, RESPONSES).logprob,
        **EXACT,
    )
    scorer = _scorer(model_type, encoder, "pointwise", "last")
    save_reward_model(scorer, tmp_path / "rm", canaries, {})
    card = json.loads((tmp_path / "rm" / "card.json").read_text())
    assert card["family"] == card["template"]["family"] == FAMILY_OF[model_type]
    loaded = load_reward_model(tmp_path / "rm")
    assert loaded.encoder.template == encoder.template
    assert loaded.encoder.responses(TYPED) == again.encoder.responses(TYPED)
    torch.testing.assert_close(
        score_rows(loaded, TYPED, RESPONSES), score_rows(scorer, TYPED, RESPONSES), **EXACT
    )


@pytest.mark.parametrize("role", ["policy", "rm"])
def test_a_configuration_of_another_family_than_the_cards_is_refused(
    role: str, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    encoder = _encoder("llama", words)
    folder, canaries = tmp_path / role, [("the cat", "so")]
    if role == "policy":
        save_policy(Policy(tiny_model("llama", encoder), encoder), folder, canaries, {})
    else:
        save_reward_model(_scorer("llama", encoder, "joint"), folder, canaries, {})
    tiny_model("t5", encoder).save_pretrained(folder)
    reseal(folder)
    load = load_policy if role == "policy" else load_reward_model
    with pytest.raises(ModelError, match="of family encoder_decoder, the card says causal"):
        load(folder)


def test_positions_that_depend_on_the_batch_are_refused(
    words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    encoder = _encoder("llama", words)
    tiny_model("llama", encoder, rope_parameters=rope).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="has rope_type dynamic, which makes a score depend"):
        load_backbone(str(tmp_path))


def test_a_checkpoint_of_half_precision_is_read_in_full(
    words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tiny_model("llama", _encoder("llama", words)).to(torch.bfloat16).save_pretrained(tmp_path)
    assert load_backbone(str(tmp_path)).dtype == torch.float32
