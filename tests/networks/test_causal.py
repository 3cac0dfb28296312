"""A causal model that shares prompts gives what transformers' own forward gives without sharing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.small_families import CAUSAL, tiny_model
from tests.small_models import PROMPTS, RESPONSES
from westofn.errors import ModelError
from westofn.networks import prefix
from westofn.networks.causal import CausalNetwork
from westofn.networks.families import generator_of
from westofn.text.encoding import Encoder, Padded, pad

EXACT = {"atol": 1e-5, "rtol": 1e-5}
# Longer than a window of 4, shorter, of one token; an end token in the middle is no end.
ROWS = [[3, 4, 5, 6, 7, 8, 9], [10, 1, 12], [13], [14, 15, 16, 17, 18]]
ANSWERS = [
    [[20, 21, 1], [22, 1, 1]],
    [[23, 24, 25], [26, 27, 1]],
    [[28, 29, 1], [3, 1, 1]],
    [[4, 5, 6], [7, 1, 1]],
]


def _network(model: PreTrainedModel) -> CausalNetwork:
    network = generator_of(model)
    assert isinstance(network, CausalNetwork)
    return network


def _alone(model: Any, prompt: list[int], answer: list[int]) -> tuple[Tensor, Tensor]:
    """States and logits of one unpadded row, from the prompt's last token on."""
    row = torch.tensor([prompt + answer])
    state = model.base_model(input_ids=row, use_cache=False).last_hidden_state
    logits = model(input_ids=row, use_cache=False).logits
    return state[0, len(prompt) - 1 :], logits[0, len(prompt) - 1 :]


def _together(network: CausalNetwork) -> Tensor:
    prompts = pad(ROWS, pad_id=1)
    states = network.prompt_states(prompts.ids, prompts.mask)
    return network.hidden(states, torch.tensor(ANSWERS))


@pytest.mark.parametrize("model_type", CAUSAL)
def test_states_and_logits_are_those_of_the_unpadded_text(
    model_type: str, small_encoder: Encoder
) -> None:
    model = tiny_model(model_type, small_encoder)
    network = _network(model)
    with torch.no_grad():
        hidden = _together(network)
        logits = network.logits(hidden)
        for row, prompt in enumerate(ROWS):
            for column, answer in enumerate(ANSWERS[row]):
                state, expected = _alone(model, prompt, answer)
                assert state.std() > 0.1
                torch.testing.assert_close(hidden[row, column], state, **EXACT)
                torch.testing.assert_close(logits[row, column], expected, **EXACT)


@pytest.mark.parametrize("model_type", CAUSAL)
def test_plain_products_attend_as_the_fused_operation_does(
    model_type: str, small_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _network(tiny_model(model_type, small_encoder))
    with torch.no_grad():
        fused = _together(network)
        monkeypatch.setattr(prefix, "_has_fused", lambda device: False)
        monkeypatch.setattr(prefix, "MOST_SCORES", 1)  # one row after the other
        torch.testing.assert_close(_together(network), fused, **EXACT)


def test_responses_share_the_keys_and_values_of_their_prompt(small_encoder: Encoder) -> None:
    network = _network(tiny_model("llama", small_encoder))
    prompts = pad(ROWS, pad_id=1)
    with torch.no_grad():
        states = network.prompt_states(prompts.ids, prompts.mask)
        cache = network.cache(states, 50, 3)
        network.step(cache, states.start.unsqueeze(1).expand(-1, 50))
    assert states.prefix is not None
    for room, (keys, _) in zip(cache.layers.rooms, states.prefix, strict=True):
        assert room.prefix is not None
        assert room.prefix[0].data_ptr() == keys.data_ptr()
        assert room.keys is not None
        assert room.keys.shape[::2] == (len(ROWS) * 50, 3)
    assert network.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("model_type", CAUSAL)
def test_gradients_are_those_of_the_unpadded_texts(
    model_type: str, trains: bool, small_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    branched: list[bool] = []
    original = CausalNetwork._branches

    def spied(self: CausalNetwork, *inputs: Any) -> bool:
        branched.append(original(self, *inputs))
        return branched[-1]

    monkeypatch.setattr(CausalNetwork, "_branches", spied)
    shared, alone = (tiny_model(model_type, small_encoder) for _ in range(2))
    network = _network(shared.train(trains))
    hidden = _together(network)
    # A row of all responses would ignore a window of 4.
    assert branched == ([getattr(shared.config, "sliding_window", None) is None] if trains else [])
    for row, prompt in enumerate(ROWS):
        for column, answer in enumerate(ANSWERS[row]):
            torch.testing.assert_close(
                hidden[row, column], _alone(alone, prompt, answer)[0], **EXACT
            )
    network.logits(hidden).logsumexp(-1).sum().backward()
    loss = torch.zeros(())
    for prompt, answers in zip(ROWS, ANSWERS, strict=True):
        for answer in answers:
            loss = loss + _alone(alone, prompt, answer)[1].logsumexp(-1).sum()
    loss.backward()
    compared = 0
    for (name, weight), other in zip(shared.named_parameters(), alone.parameters(), strict=True):
        assert weight.grad is not None, name
        assert other.grad is not None, name
        torch.testing.assert_close(weight.grad, other.grad, atol=1e-4, rtol=1e-4)
        compared += 1
    assert compared > 10


@pytest.mark.parametrize("model_type", CAUSAL)
def test_recomputed_layers_give_the_same_states_and_gradients(
    model_type: str, small_encoder: Encoder
) -> None:
    usual, recomputed = (tiny_model(model_type, small_encoder).train() for _ in range(2))
    recomputed.activation_checkpointing_enable()
    states = []
    for model in (usual, recomputed):
        hidden = _together(_network(model))
        hidden.square().sum().backward()
        states.append(hidden.detach())
    torch.testing.assert_close(states[0], states[1], **EXACT)
    # The same for prompts that were read before the layers began to be recomputed.
    network, prompts = _network(recomputed.eval()), pad(ROWS, pad_id=1)
    with torch.no_grad():
        early = network.prompt_states(prompts.ids, prompts.mask)
        recomputed.train()
        late = network.hidden(early, torch.tensor(ANSWERS))
    torch.testing.assert_close(late, states[0], **EXACT)
    for weight, other in zip(usual.parameters(), recomputed.parameters(), strict=True):
        if weight.grad is not None:
            assert other.grad is not None
            torch.testing.assert_close(weight.grad, other.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model_type", CAUSAL)
def test_token_by_token_gives_the_logits_of_whole_responses(
    model_type: str, small_encoder: Encoder
) -> None:
    network = _network(tiny_model(model_type, small_encoder))
    prompts, answers = pad(ROWS, pad_id=1), torch.tensor(ANSWERS)
    with torch.no_grad():
        states = network.prompt_states(prompts.ids, prompts.mask)
        whole = network.logits(network.hidden(states, answers))
        cache = network.cache(states, 2, 4)
        read = torch.cat([states.start[:, None, None].expand(4, 2, 1), answers], dim=2)
        for step in range(2):
            torch.testing.assert_close(
                network.logits(network.step(cache, read[..., step])), whole[:, :, step], **EXACT
            )
        # Prompts 3 and 0 stay, with one row each.
        cache.keep(torch.tensor([3, 0]), torch.tensor([7, 0]))
        for step in (2, 3):
            tokens = torch.stack([read[3, 1, step], read[0, 0, step]])[:, None]
            expected = torch.stack([whole[3, 1, step], whole[0, 0, step]])[:, None]
            torch.testing.assert_close(
                network.logits(network.step(cache, tokens)), expected, **EXACT
            )
        # What was read of the prompts is as it was.
        torch.testing.assert_close(network.logits(network.hidden(states, answers)), whole, **EXACT)


@pytest.mark.parametrize("model_type", CAUSAL)
def test_states_depend_neither_on_padding_nor_on_neighbours(
    model_type: str, small_encoder: Encoder
) -> None:
    network = _network(tiny_model(model_type, small_encoder))
    answers = torch.tensor(ANSWERS)
    with torch.no_grad():
        together = _together(network)
        for row, prompt in enumerate(ROWS):
            for length, padding in ((len(prompt), 0), (12, 0), (12, 5), (12, 1)):
                padded = pad([prompt], padding, length)
                states = network.prompt_states(padded.ids, padded.mask)
                alone = network.hidden(states, answers[row : row + 1])
                torch.testing.assert_close(alone[0], together[row], **EXACT)
                single = network.hidden(states, answers[row : row + 1, 1:])
                torch.testing.assert_close(single[0, 0], together[row, 1], **EXACT)


@pytest.mark.parametrize("model_type", CAUSAL)
def test_selected_prompts_read_as_they_did(model_type: str, small_encoder: Encoder) -> None:
    network = _network(tiny_model(model_type, small_encoder))
    prompts, rows = pad(ROWS, pad_id=1), torch.tensor([2, 0])
    with torch.no_grad():
        states = network.prompt_states(prompts.ids, prompts.mask).select(rows)
        selected = network.hidden(states, torch.tensor(ANSWERS)[rows])
        torch.testing.assert_close(selected, _together(network)[rows], **EXACT)


def test_both_read_outs_are_found_by_the_mask(small_encoder: Encoder) -> None:
    network = _network(tiny_model("llama", small_encoder))
    prompts = pad(small_encoder.prompts(PROMPTS), small_encoder.eos_id)
    answers = pad(small_encoder.responses(RESPONSES), small_encoder.eos_id)
    responses = Padded(answers.ids[:, None], answers.mask[:, None])
    with torch.no_grad():
        states = network.prompt_states(prompts.ids, prompts.mask)
        hidden = network.hidden(states, responses.ids)
        for row, count in enumerate(answers.mask.sum(-1).tolist()):
            mean = network.read_out(states, responses, "mean")[row, 0]
            last = network.read_out(states, responses, "last")[row, 0]
            torch.testing.assert_close(mean, hidden[row, 0, 1 : count + 1].mean(0), **EXACT)
            torch.testing.assert_close(last, hidden[row, 0, count], **EXACT)


def test_a_table_of_positions_that_is_too_short_is_refused(small_encoder: Encoder) -> None:
    network = _network(tiny_model("gpt2", small_encoder, n_positions=8))
    prompts = pad([[3, 4, 5, 6, 7]], pad_id=1)
    states = network.prompt_states(prompts.ids, prompts.mask)
    network.hidden(states, torch.tensor([[[3, 4, 1]]]))
    with pytest.raises(ModelError, match="have 9 tokens, this gpt2 has positions for 8; lower"):
        network.hidden(states, torch.tensor([[[3, 4, 5, 1]]]))
