"""The shared decoder must be transformers' T5, whatever stands beside a response in its batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from tests.small_models import PROMPTS, READOUTS, RESPONSES, tiny_backbone, tiny_policy, tiny_scorer
from westofn.models.policy import Policy, log_likelihood, token_logprobs
from westofn.models.scoring import score_rows
from westofn.networks.encoder_decoder import SharedDecoder, StepCache
from westofn.params.network import Readout
from westofn.text.encoding import Encoder, Padded, pad

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
FAMILIES: dict[str, dict[str, Any]] = {
    "v1.1, scaled logits": {"feed_forward_proj": "gated-gelu"},
    "from scratch": {"feed_forward_proj": "gated-gelu_pytorch_tanh"},
    "v1.1, as published": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "v1.0": {"feed_forward_proj": "relu"},
    "more decoder layers, wide heads": {"num_decoder_layers": 3, "d_kv": 12},
    "few buckets": {"relative_attention_num_buckets": 4, "relative_attention_max_distance": 6},
    "another start token": {"decoder_start_token_id": 5},
}


def _t5(**changes: Any) -> T5ForConditionalGeneration:
    torch.manual_seed(7)
    settings: dict[str, Any] = {
        "vocab_size": 40,
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 32,
        "num_layers": 2,
        "num_heads": 2,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }
    return T5ForConditionalGeneration(T5Config(**(settings | changes))).eval()


def _some(seed: int = 0, prompts: int = 3, per_prompt: int = 4, length: int = 5) -> Any:
    """Ragged prompts, and (P, K, T) responses."""
    generator = torch.Generator().manual_seed(seed)
    lengths = [6, 3, 9, 1, 4][:prompts]
    rows = [torch.randint(2, 40, (n,), generator=generator).tolist() for n in lengths]
    return pad(rows, 0), torch.randint(2, 40, (prompts, per_prompt, length), generator=generator)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_states_and_logits_are_those_of_transformers(family: str) -> None:
    model = _t5(**FAMILIES[family])
    prompts, responses = _some()
    decoder = SharedDecoder(model)
    hidden = decoder.hidden(decoder.prompt_states(prompts.ids, prompts.mask), responses)
    start = torch.full_like(responses[..., :1], model.config.decoder_start_token_id)
    read = torch.cat([start, responses], dim=-1)
    for index in range(responses.shape[1]):
        theirs = model(
            input_ids=prompts.ids,
            attention_mask=prompts.mask.long(),
            decoder_input_ids=read[:, index],
            output_hidden_states=True,
        )
        torch.testing.assert_close(hidden[:, index], theirs.decoder_hidden_states[-1], **CLOSE)
        torch.testing.assert_close(decoder.logits(hidden[:, index]), theirs.logits, **CLOSE)


@torch.no_grad()
def test_responses_decoded_together_are_those_decoded_one_by_one() -> None:
    decoder = SharedDecoder(_t5())
    prompts, responses = _some()
    together = decoder.hidden(decoder.prompt_states(prompts.ids, prompts.mask), responses)
    for row in range(len(responses)):
        one = slice(row, row + 1)
        states = decoder.prompt_states(prompts.ids[one], prompts.mask[one])
        for k in range(responses.shape[1]):
            alone = decoder.hidden(states, responses[one, k : k + 1])
            torch.testing.assert_close(together[one, k : k + 1], alone, **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_decoding_step_by_step_gives_the_logits_of_teacher_forcing(family: str) -> None:
    decoder = SharedDecoder(_t5(**FAMILIES[family]))
    prompts, responses = _some(length=9)
    states = decoder.prompt_states(prompts.ids, prompts.mask)
    expected = decoder.logits(decoder.hidden(states, responses))
    cache = StepCache(decoder, states, responses.shape[1], 10)
    tokens = torch.full_like(responses[..., 0], decoder.start_id)
    for time in range(10):
        torch.testing.assert_close(
            decoder.logits(decoder.step(cache, tokens)), expected[:, :, time], **CLOSE
        )
        tokens = responses[..., time] if time < 9 else tokens


@torch.no_grad()
def test_rows_that_stay_in_the_cache_go_on_as_if_nobody_had_left() -> None:
    decoder = SharedDecoder(_t5())
    prompts, responses = _some(length=6)
    states = decoder.prompt_states(prompts.ids, prompts.mask)
    expected = decoder.logits(decoder.hidden(states, responses))
    cache = StepCache(decoder, states, 4, 7)
    decoder.step(cache, torch.full_like(responses[..., 0], decoder.start_id))
    decoder.step(cache, responses[..., 0])
    # Prompts 2 and 0 stay, in this order, with rows (3, 1) and (0, 2) of their four.
    kept = torch.tensor([[3, 1], [0, 2]])
    prompt_rows = torch.tensor([2, 0])
    cache.keep(prompt_rows, (prompt_rows[:, None] * 4 + kept).flatten())
    stayed = responses[prompt_rows[:, None], kept]
    for time in range(1, 6):
        logits = decoder.logits(decoder.step(cache, stayed[..., time]))
        wanted = expected[prompt_rows[:, None], kept][:, :, time + 1]
        torch.testing.assert_close(logits, wanted, **CLOSE)


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_padding_of_prompts_changes_nothing(side: str) -> None:
    decoder = SharedDecoder(_t5())
    prompts, responses = _some()
    plain = decoder.hidden(decoder.prompt_states(prompts.ids, prompts.mask), responses)
    more = (7, 0) if side == "left" else (0, 7)
    # The padding holds a real token's id: only the mask may count.
    ids = torch.nn.functional.pad(prompts.ids, more, value=11)
    mask = torch.nn.functional.pad(prompts.mask, more, value=False)
    padded = decoder.hidden(decoder.prompt_states(ids, mask), responses)
    torch.testing.assert_close(padded, plain, **CLOSE)


@torch.no_grad()
def test_padding_of_responses_changes_nothing_before_it() -> None:
    decoder = SharedDecoder(_t5())
    prompts, responses = _some()
    states = decoder.prompt_states(prompts.ids, prompts.mask)
    plain = decoder.hidden(states, responses)
    padded = decoder.hidden(states, torch.nn.functional.pad(responses, (0, 6), value=11))
    torch.testing.assert_close(padded[:, :, : plain.shape[2]], plain, **CLOSE)


@torch.no_grad()
def test_a_response_is_not_changed_by_what_comes_after() -> None:
    decoder = SharedDecoder(_t5())
    prompts, responses = _some()
    states = decoder.prompt_states(prompts.ids, prompts.mask)
    changed = responses.clone()
    changed[..., 3:] = 2
    before, after = decoder.hidden(states, responses), decoder.hidden(states, changed)
    assert torch.equal(before[:, :, :4], after[:, :, :4])
    assert not torch.allclose(before[:, :, 4:], after[:, :, 4:], atol=1e-3)


@pytest.mark.parametrize("length", [0, 1])
@torch.no_grad()
def test_the_shortest_responses_have_a_state_for_every_token_and_the_start(length: int) -> None:
    decoder = SharedDecoder(_t5())
    prompts, responses = _some(length=max(length, 1))
    hidden = decoder.hidden(
        decoder.prompt_states(prompts.ids, prompts.mask), responses[..., :length]
    )
    assert hidden.shape == (3, 4, length + 1, 16)
    assert bool(hidden.isfinite().all())


def test_dropout_acts_in_training_only() -> None:
    model = _t5(dropout_rate=0.3)
    decoder = SharedDecoder(model)
    prompts, responses = _some()

    def hidden() -> Tensor:
        return decoder.hidden(decoder.prompt_states(prompts.ids, prompts.mask), responses).detach()

    assert torch.equal(hidden(), hidden())
    still = hidden()
    model.train()
    torch.manual_seed(0)
    first = hidden()
    assert not torch.allclose(first, still, atol=1e-2)
    assert not torch.allclose(first, hidden(), atol=1e-2)
    torch.manual_seed(0)
    assert torch.equal(first, hidden())


def test_without_dropout_training_computes_what_evaluation_does() -> None:
    model = _t5(dropout_rate=0.0)
    decoder = SharedDecoder(model)
    prompts, responses = _some()
    still = decoder.hidden(decoder.prompt_states(prompts.ids, prompts.mask), responses)
    model.train()
    moving = decoder.hidden(decoder.prompt_states(prompts.ids, prompts.mask), responses)
    assert torch.equal(still, moving)


def test_the_gradient_reaches_every_weight_and_is_that_of_transformers() -> None:
    ours, theirs = _t5(), _t5()
    prompts, responses = _some(per_prompt=1)
    policy = _without_encoder(ours)
    mask = torch.ones_like(responses, dtype=torch.bool)
    loss = -token_logprobs(policy, prompts, Padded(responses, mask)).sum() / responses.numel()
    loss.backward()  # type: ignore[no-untyped-call]
    theirs(
        input_ids=prompts.ids, attention_mask=prompts.mask.long(), labels=responses[:, 0]
    ).loss.backward()
    named = dict(theirs.named_parameters())
    assert len(named) > 30
    for name, weight in ours.named_parameters():
        assert weight.grad is not None, name
        assert float(weight.grad.abs().sum()) > 0, name
        torch.testing.assert_close(weight.grad, named[name].grad, atol=1e-5, rtol=1e-4)


def _without_encoder(model: T5ForConditionalGeneration) -> Policy:
    """token_logprobs reads ids only."""
    return Policy(model, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("prompt", ["the cat </s> sat", "</s>", "<pad> <pad> a dog", "a</s>b"])
def test_an_end_token_typed_in_a_prompt_moves_no_read_out(
    prompt: str, spelling: PreTrainedTokenizerFast
) -> None:
    encoder = Encoder(spelling, max_prompt_tokens=40, max_response_tokens=40)
    policy, scorer = tiny_policy(encoder), tiny_scorer(encoder, "pointwise")
    neighbours = [prompt, "a cat ran on the moon, so long"]
    alone = score_rows(scorer, [prompt], ["good dog"])
    torch.testing.assert_close(score_rows(scorer, neighbours, ["good dog"] * 2)[:1], alone, **CLOSE)
    likelihood = log_likelihood(policy, [prompt], ["good dog"]).logprob
    beside = log_likelihood(policy, neighbours, ["good dog"] * 2).logprob[:1]
    torch.testing.assert_close(beside, likelihood, **CLOSE)
    # Typed specials are words to the model: without them it reads something else.
    bare = prompt.replace("</s>", "").replace("<pad>", "")
    assert abs(float(score_rows(scorer, [bare], ["good dog"]) - alone)) > 1e-4


def test_a_response_with_a_typed_end_token_is_read_to_its_real_end(
    spelling: PreTrainedTokenizerFast,
) -> None:
    encoder = Encoder(spelling, 40, 60)
    scorer = tiny_scorer(encoder, "pointwise")
    outputs = score_rows(scorer, ["a cat"] * 3, ["good", "good</s> dog", "good</s> bad"])
    assert len({round(float(value), 4) for value in outputs}) == 3


@pytest.mark.parametrize("readout", READOUTS)
def test_a_model_whose_padding_is_its_end_token_scores_alone_as_in_a_batch(
    readout: Readout, words: PreTrainedTokenizerFast
) -> None:
    encoder = Encoder(words, 10, 8)
    encoder.pad_id = encoder.eos_id
    policy, scorer = tiny_policy(encoder), tiny_scorer(encoder, "embedding", readout=readout)
    assert policy.model.config.pad_token_id == policy.model.config.eos_token_id
    rewards = score_rows(scorer, PROMPTS, RESPONSES)
    logprob = log_likelihood(policy, PROMPTS, RESPONSES).logprob
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        alone = score_rows(scorer, [prompt], [response])[0]
        torch.testing.assert_close(rewards[row], alone, **CLOSE)
        one = log_likelihood(policy, [prompt], [response]).logprob[0]
        torch.testing.assert_close(logprob[row], one, **CLOSE)
    assert float(rewards.std(0).min()) > 1e-3


def test_a_model_from_scratch_is_decided_by_torchs_seed(small_encoder: Encoder) -> None:
    first, again, other = (tiny_backbone(small_encoder, seed) for seed in (1, 1, 2))
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )
    assert not torch.equal(first.shared.weight, other.shared.weight)
