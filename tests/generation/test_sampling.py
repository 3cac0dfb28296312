"""A sample is a function of (seed, prompt_id, candidate index) and the policy alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tests.small_families import tiny_model
from tests.small_models import PROMPTS, tiny_policy
from westofn.generation import hf
from westofn.generation.hf import Samples, decode, sample
from westofn.models.policy import Policy, log_likelihood, token_logprobs
from westofn.networks.encoder_decoder import SharedDecoder
from westofn.text.encoding import Encoder, Padded, pad
from westofn.text.model_files import FAMILY_OF

NAMES = ["p0", "p1", "p2", "p3"]


@pytest.fixture(scope="module", params=["t5", "llama", "mistral", "gpt2", "gemma2"])
def small_policy(request: pytest.FixtureRequest, words: PreTrainedTokenizerFast) -> Policy:
    """A policy that ends a response at about every fifth token."""
    encoder = Encoder(words, 10, 8, FAMILY_OF[request.param])
    policy = tiny_policy(encoder)
    if request.param != "t5":
        policy = Policy(tiny_model(request.param, encoder), encoder)
    decoder = policy.network
    prompts = pad(encoder.prompts(PROMPTS), encoder.pad_id)
    with torch.no_grad():
        states = decoder.prompt_states(prompts.ids, prompts.mask)
        usual = decoder.hidden(states, torch.arange(3, 35).view(4, 1, 8)).flatten(0, 2).mean(0)
        # A T5 scales its states down before it asks for the next token.
        length = 3.0 if request.param == "t5" else 2 / usual.norm()
        end = policy.model.get_output_embeddings().weight[encoder.eos_id]
        end.copy_(length * usual / usual.norm())
    return policy


def _draw(
    policy: Policy,
    rows: list[int] | None = None,
    indices: list[int] | range = range(8),
    temperature: float = 1.0,
    seed: int = 5,
) -> Samples:
    rows = [0, 1, 2, 3] if rows is None else rows
    return sample(
        policy,
        [PROMPTS[row] for row in rows],
        [NAMES[row] for row in rows],
        indices=indices,
        temperature=temperature,
        seed=seed,
    )


def _rows(samples: Samples) -> list[list[list[int]]]:
    """The tokens of every response, without padding."""
    return [
        [ids[:n].tolist() for ids, n in zip(pool, counts, strict=True)]
        for pool, counts in zip(samples.ids, samples.n_tokens, strict=True)
    ]


def test_prompts_drawn_one_by_one_get_the_same_samples(small_policy: Policy) -> None:
    together = _draw(small_policy)
    assert len({tuple(row) for pool in _rows(together) for row in pool}) > 20
    for row in range(4):
        alone = _draw(small_policy, [row])
        assert _rows(alone)[0] == _rows(together)[row]
        torch.testing.assert_close(alone.logprob[0], together.logprob[row], atol=1e-5, rtol=1e-5)


def test_the_order_of_prompts_moves_no_sample(small_policy: Policy) -> None:
    assert _rows(_draw(small_policy, [3, 1, 0, 2])) == [
        _rows(_draw(small_policy))[row] for row in (3, 1, 0, 2)
    ]


@pytest.mark.parametrize("chunks", [[range(3), range(3, 8)], [[6, 0, 3], [7, 1, 2, 4, 5]]])
def test_candidates_drawn_in_chunks_are_those_drawn_at_once(
    chunks: list[list[int]], small_policy: Policy
) -> None:
    whole = _rows(_draw(small_policy))
    for chunk in chunks:
        for pool, expected in zip(_rows(_draw(small_policy, indices=chunk)), whole, strict=True):
            assert pool == [expected[index] for index in chunk]


def test_other_seeds_prompt_ids_and_indices_give_other_samples(small_policy: Policy) -> None:
    base = _rows(_draw(small_policy))
    assert _rows(_draw(small_policy)) == base
    assert _rows(_draw(small_policy, seed=6)) != base
    assert _rows(_draw(small_policy, indices=range(8, 16))) != base
    renamed = sample(
        small_policy, PROMPTS, ["q0", *NAMES[1:]], indices=range(8), temperature=1.0, seed=5
    )
    assert _rows(renamed)[0] != base[0]
    assert _rows(renamed)[1:] == base[1:]


@pytest.mark.parametrize("threshold", [0.0, 2.0])
def test_dropping_finished_rows_changes_no_other_row(
    threshold: float, small_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 0 never drops a finished row, 2 drops as soon as it can.
    usual = _draw(small_policy)
    assert len(set(usual.n_tokens.flatten().tolist())) > 4
    monkeypatch.setattr(hf, "COMPACT_BELOW", threshold)
    other = _draw(small_policy)
    assert _rows(other) == _rows(usual)
    torch.testing.assert_close(other.logprob, usual.logprob, atol=1e-5, rtol=1e-5)


def _teacher_forced(policy: Policy, samples: Samples) -> Tensor:
    """log π of exactly the drawn ids, (P, N)."""
    length = torch.arange(samples.ids.shape[-1])
    mask = length < samples.n_tokens.unsqueeze(-1)
    prompts = pad(policy.encoder.prompts(PROMPTS), policy.encoder.pad_id)
    with torch.no_grad():
        return token_logprobs(policy, prompts, Padded(samples.ids, mask)).sum(-1)


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_the_stored_logprob_is_that_of_the_ids_at_temperature_one(
    temperature: float, small_policy: Policy
) -> None:
    samples = _draw(small_policy, temperature=temperature)
    assert samples.stopped.any()
    assert not samples.stopped.all()
    torch.testing.assert_close(
        samples.logprob, _teacher_forced(small_policy, samples), atol=1e-4, rtol=1e-5
    )


def test_a_stopped_sample_has_the_log_likelihood_of_its_text(small_policy: Policy) -> None:
    samples = _draw(small_policy)
    compared = 0
    for row, texts in enumerate(decode(small_policy, samples)):
        again = small_policy.encoder.responses(texts)
        likelihood = log_likelihood(small_policy, [PROMPTS[row]] * len(texts), texts)
        for index, ids in enumerate(again):
            # "a" and "b" side by side are read as the word "ab": another text, not compared.
            if samples.stopped[row, index] and ids == _rows(samples)[row][index]:
                compared += 1
                assert int(likelihood.n_tokens[index]) == int(samples.n_tokens[row, index])
                assert float(samples.logprob[row, index]) == pytest.approx(
                    float(likelihood.logprob[index]), abs=1e-4
                )
    assert compared >= 3


def test_a_small_temperature_takes_the_likeliest_token_each_time(small_policy: Policy) -> None:
    samples = _draw(small_policy, temperature=1e-5, indices=range(3))
    never = hf.never_drawn(small_policy)
    decoder, encoder = small_policy.network, small_policy.encoder
    for row, pool in enumerate(_rows(samples)):
        assert pool[0] == pool[1] == pool[2]
        prompt = pad(encoder.prompts([PROMPTS[row]]), encoder.pad_id)
        with torch.no_grad():
            states = decoder.prompt_states(prompt.ids, prompt.mask)
            read = torch.tensor(pool[0]).view(1, 1, -1)
            logits = decoder.logits(decoder.hidden(states, read))[0, 0]
        logits[:, never] = -math.inf
        assert logits.argmax(-1)[: len(pool[0])].tolist() == pool[0]


def _first_token_statistic(
    policy: Policy, drawn_at: float, expected_at: float
) -> tuple[float, int]:
    """χ² of first tokens drawn at one temperature against the softmax of another, and its df."""
    count = 3000
    samples = _draw(policy, [1], range(count), temperature=drawn_at)
    prompt = pad(policy.encoder.prompts([PROMPTS[1]]), policy.encoder.pad_id)
    with torch.no_grad():
        states = policy.network.prompt_states(prompt.ids, prompt.mask)
        start = torch.zeros(1, 1, 0, dtype=torch.long)
        logits = policy.network.logits(policy.network.hidden(states, start))[0, 0, 0]
    logits[hf.never_drawn(policy)] = -math.inf
    expected = (logits.double() / expected_at).softmax(-1) * count
    observed = torch.bincount(samples.ids[0, :, 0], minlength=len(expected)).double()
    assert observed[expected == 0].sum() == 0
    # The rarest stand together, so that every bin expects 5 at least, as the approximation asks.
    order = expected.argsort()
    pooled = max(int((expected < 5).sum()), int((expected[order].cumsum(0) < 5).sum()) + 1)
    observed, expected = (
        torch.cat([values[order][:pooled].sum().view(1), values[order][pooled:]])
        for values in (observed, expected)
    )
    return float(((observed - expected) ** 2 / expected).sum()), len(expected) - 1


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_first_tokens_are_as_frequent_as_the_softmax_says(
    temperature: float, words: PreTrainedTokenizerFast
) -> None:
    policy = tiny_policy(Encoder(words, 10, 1))
    statistic, freedom = _first_token_statistic(policy, temperature, temperature)
    # χ² has mean df and variance 2 df: four standard deviations are about one in 20 000.
    assert freedom >= 10
    assert statistic < freedom + 4 * math.sqrt(2 * freedom)
    # The same test tells apart temperatures that are not equal.
    wrong, freedom = _first_token_statistic(policy, temperature, temperature * 1.4)
    assert wrong > freedom + 10 * math.sqrt(2 * freedom)


def test_a_sample_that_the_limit_cuts_did_not_stop(words: PreTrainedTokenizerFast) -> None:
    policy = tiny_policy(Encoder(words, 10, 2))
    samples = _draw(policy, indices=range(150))
    end = policy.encoder.eos_id
    seen = set()
    for ids, count, stopped in zip(
        samples.ids.flatten(0, 1),
        samples.n_tokens.flatten(),
        samples.stopped.flatten(),
        strict=True,
    ):
        row = ids[: int(count)].tolist()
        seen.add((len(row), bool(stopped)))
        assert (row[-1] == end) is bool(stopped)
        assert end not in row[:-1]
    # The limit does not count the end token: 2 words and an end, or 2 words cut short.
    assert seen == {(1, True), (2, True), (3, True), (2, False)}


@pytest.mark.parametrize("vocabulary", [35, 48])
def test_special_tokens_and_padded_vocabulary_are_never_drawn(
    vocabulary: int, words: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(words) == 35
    policy = tiny_policy(Encoder(words, 10, 6), vocabulary=vocabulary)
    banned = [policy.encoder.pad_id, int(words.unk_token_id), *range(35, vocabulary)]
    original = SharedDecoder.logits

    def eager(self: SharedDecoder, hidden: Tensor) -> Tensor:
        logits = original(self, hidden)
        logits[..., banned] += 30
        return logits

    monkeypatch.setattr(SharedDecoder, "logits", eager)
    rows = [row for pool in _rows(_draw(policy)) for row in pool]
    assert not set(banned) & {token for row in rows for token in row}
    assert len({token for row in rows for token in row}) > 10


def test_a_policy_whose_padding_is_its_end_token_counts_by_position(
    words: PreTrainedTokenizerFast,
) -> None:
    encoder = Encoder(words, 10, 4)
    encoder.pad_id = encoder.eos_id
    policy = tiny_policy(encoder)
    samples = _draw(policy)
    assert set(samples.stopped.flatten().tolist()) == {True, False}
    for pool, stops in zip(_rows(samples), samples.stopped.tolist(), strict=True):
        for row, stopped in zip(pool, stops, strict=True):
            assert (row[-1] == encoder.eos_id) is stopped
            assert row.count(encoder.eos_id) == int(stopped)
            assert stopped or len(row) == 4
    torch.testing.assert_close(
        samples.logprob, _teacher_forced(policy, samples), atol=1e-4, rtol=1e-5
    )


def test_decoded_texts_stand_beside_their_samples(small_policy: Policy) -> None:
    samples = _draw(small_policy)
    texts = decode(small_policy, samples)
    assert [len(pool) for pool in texts] == [8] * 4
    for row, pool in enumerate(_rows(samples)):
        assert texts[row] == small_policy.encoder.decode(pool)


def test_sampling_switches_dropout_off(small_encoder: Encoder) -> None:
    policy = tiny_policy(small_encoder, dropout=0.4)
    policy.model.train()
    assert _rows(_draw(policy)) == _rows(_draw(policy))
