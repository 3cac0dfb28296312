"""A BART that shares prompts gives what transformers' own forward gives without sharing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import BartForConditionalGeneration

from tests.small_families import tiny_model
from westofn.errors import ModelError
from westofn.models.bart import BartNetwork
from westofn.models.encoding import Encoder, pad

EXACT = {"atol": 1e-5, "rtol": 1e-5}
START, BEGIN = 1, 2  # what the decoder reads before a text: </s>, then <s>
ROWS = [[2, 3, 4, 5, 6, 1], [2, 10, 1, 12, 1], [2, 13, 1]]
ANSWERS = [[[20, 21, 1], [22, 1, 1]], [[23, 24, 25], [26, 27, 1]], [[28, 29, 1], [3, 1, 1]]]


@pytest.fixture
def model(small_encoder: Encoder) -> BartForConditionalGeneration:
    made = tiny_model("bart", small_encoder, bos_token_id=BEGIN)
    assert isinstance(made, BartForConditionalGeneration)
    with torch.no_grad():
        made.final_logits_bias.normal_()
    return made


def _alone(
    model: BartForConditionalGeneration, prompt: list[int], answer: list[int]
) -> tuple[Tensor, Tensor]:
    """Decoder states and logits of one unpadded row, from <s> on."""
    output = model(
        input_ids=torch.tensor([prompt]),
        decoder_input_ids=torch.tensor([[START, BEGIN, *answer]]),
        output_hidden_states=True,
        use_cache=False,
    )
    return output.decoder_hidden_states[-1][0, 1:], output.logits[0, 1:]


def _together(network: BartNetwork) -> Tensor:
    prompts = pad(ROWS, pad_id=1)
    states = network.prompt_states(prompts.ids, prompts.mask)
    return network.hidden(states, torch.tensor(ANSWERS))


def test_states_and_logits_are_those_of_the_unpadded_text(
    model: BartForConditionalGeneration,
) -> None:
    network = BartNetwork(model)
    with torch.no_grad():
        hidden = _together(network)
        for row, prompt in enumerate(ROWS):
            for column, answer in enumerate(ANSWERS[row]):
                state, logits = _alone(model, prompt, answer)
                torch.testing.assert_close(hidden[row, column], state, **EXACT)
                torch.testing.assert_close(network.logits(hidden[row, column]), logits, **EXACT)


@pytest.mark.parametrize("recomputed", [False, True])
def test_gradients_are_those_of_the_unpadded_texts(
    recomputed: bool, model: BartForConditionalGeneration
) -> None:
    loss = torch.zeros(())
    for prompt, answers in zip(ROWS, ANSWERS, strict=True):
        for answer in answers:
            loss = loss + _alone(model, prompt, answer)[1].logsumexp(-1).sum()
    loss.backward()
    expected = {name: weight.grad for name, weight in model.named_parameters()}
    model.zero_grad()
    if recomputed:
        model.activation_checkpointing_enable()
        model.train()
    network = BartNetwork(model)
    network.logits(_together(network)).logsumexp(-1).sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        torch.testing.assert_close(weight.grad, expected[name], atol=1e-4, rtol=1e-4)


def test_token_by_token_gives_the_logits_of_whole_responses(
    model: BartForConditionalGeneration,
) -> None:
    network = BartNetwork(model)
    prompts, answers = pad(ROWS, pad_id=1), torch.tensor(ANSWERS)
    with torch.no_grad():
        states = network.prompt_states(prompts.ids, prompts.mask)
        whole = network.logits(network.hidden(states, answers))
        cache = network.cache(states, 2, 4)
        read = torch.cat([states.start[:, None, None].expand(3, 2, 1), answers], dim=2)
        for step in range(2):
            logits = network.step(cache, read[..., step])
            torch.testing.assert_close(logits, whole[:, :, step], **EXACT)
        cache.keep(torch.tensor([2, 0]), torch.tensor([5, 0]))
        for step in (2, 3):
            tokens = torch.stack([read[2, 1, step], read[0, 0, step]])[:, None]
            expected = torch.stack([whole[2, 1, step], whole[0, 0, step]])[:, None]
            torch.testing.assert_close(network.step(cache, tokens), expected, **EXACT)
        again = network.logits(network.hidden(states.select(torch.tensor([2])), answers[2:]))
        torch.testing.assert_close(again, whole[2:], **EXACT)


def test_prompts_and_responses_beyond_the_table_of_positions_are_refused(
    small_encoder: Encoder,
) -> None:
    short = tiny_model("bart", small_encoder, max_position_embeddings=6)
    assert isinstance(short, BartForConditionalGeneration)
    network = BartNetwork(short)
    prompt = pad([[2, 3, 4, 5, 6, 1]], pad_id=1)
    states = network.prompt_states(prompt.ids, prompt.mask)
    network.hidden(states, torch.tensor([[[3, 4, 5, 1]]]))
    with pytest.raises(ModelError, match=r"a response has 7 tokens .* positions for 6; lower"):
        network.hidden(states, torch.tensor([[[3, 4, 5, 6, 1]]]))
    longer = pad([[2, 3, 4, 5, 6, 7, 1]], pad_id=1)
    with pytest.raises(ModelError, match=r"a prompt has 7 tokens .* positions for 6; lower"):
        network.prompt_states(longer.ids, longer.mask)


def test_layers_dropped_at_random_are_refused(small_encoder: Encoder) -> None:
    dropping = tiny_model("bart", small_encoder, decoder_layerdrop=0.1)
    assert isinstance(dropping, BartForConditionalGeneration)
    with pytest.raises(ModelError, match=r"decoder_layerdrop 0\.1 .* needs 0"):
        BartNetwork(dropping)
