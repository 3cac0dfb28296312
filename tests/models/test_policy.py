"""log π(y|x) must be transformers' own number, whatever the batch."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from tests.small_models import PROMPTS, RESPONSES, VOCABULARY, tiny_policy
from westofn.core import logprobs
from westofn.core.logprobs import chosen_logprobs, target_logprobs
from westofn.models.policy import Policy, log_likelihood, token_logprobs
from westofn.networks.encoder_decoder import SharedDecoder
from westofn.text.encoding import Encoder, Padded, pad


@torch.no_grad()
def test_the_log_likelihood_is_the_negative_loss_of_transformers_labels(
    small_policy: Policy,
) -> None:
    encoder = small_policy.encoder
    likelihood = log_likelihood(small_policy, PROMPTS, RESPONSES)
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        labels = torch.tensor(encoder.responses([response]))
        loss = small_policy.model(
            input_ids=torch.tensor(encoder.prompts([prompt])), labels=labels
        ).loss
        # Their loss is a mean over the tokens, the end token included.
        assert likelihood.n_tokens[row] == len(response.split()) + 1
        expected = -float(loss) * labels.numel()
        assert float(likelihood.logprob[row]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("tokens", [1, 30, 100])
def test_the_log_likelihood_does_not_depend_on_the_batch(small_policy: Policy, tokens: int) -> None:
    prompts, responses = PROMPTS * 3 + PROMPTS[:1] * 6, RESPONSES * 3 + (RESPONSES * 6)[:6]
    whole = log_likelihood(small_policy, prompts, responses)
    chunked = log_likelihood(small_policy, prompts, responses, tokens)
    torch.testing.assert_close(chunked.logprob, whole.logprob, atol=1e-5, rtol=1e-5)
    assert torch.equal(chunked.n_tokens, whole.n_tokens)


@torch.no_grad()
def test_the_probabilities_of_all_first_tokens_add_up_to_one(
    small_policy: Policy,
) -> None:
    encoder = small_policy.encoder
    size = len(encoder.tokenizer)
    prompt = pad(encoder.prompts(PROMPTS[:1]), encoder.pad_id)
    every = torch.arange(size).view(1, size, 1)
    first = token_logprobs(
        small_policy, prompt, Padded(every, torch.ones_like(every, dtype=torch.bool))
    )
    assert float(first.exp().sum()) == pytest.approx(1.0, abs=1e-5)


@torch.no_grad()
def test_the_empty_response_is_the_end_token_alone(small_policy: Policy) -> None:
    encoder = small_policy.encoder
    likelihood = log_likelihood(small_policy, ["the cat"], [""])
    assert likelihood.n_tokens.tolist() == [1]
    prompt = pad(encoder.prompts(["the cat"]), encoder.pad_id)
    end = torch.tensor([[[encoder.eos_id]]])
    logprob = token_logprobs(small_policy, prompt, Padded(end, torch.ones_like(end).bool()))
    assert float(likelihood.logprob) == pytest.approx(float(logprob), abs=1e-6)


def test_nothing_to_score_gives_nothing(small_policy: Policy) -> None:
    likelihood = log_likelihood(small_policy, [], [])
    assert likelihood.logprob.shape == likelihood.n_tokens.shape == (0,)


def test_padding_adds_no_log_likelihood(small_policy: Policy) -> None:
    encoder = small_policy.encoder
    prompt = pad(encoder.prompts(["the cat"]), encoder.pad_id)
    row = encoder.responses(["a dog"])
    plain, padded = (
        token_logprobs(small_policy, prompt, Padded(some.ids[None], some.mask[None]))
        for some in (pad(row, encoder.pad_id), pad(row, encoder.pad_id, length=9))
    )
    assert padded[0, 0, 3:].tolist() == [0.0] * 6
    torch.testing.assert_close(padded[..., :3], plain, atol=1e-6, rtol=1e-6)


def test_chosen_logprobs_are_those_of_log_softmax() -> None:
    # softmax of (0, log 3) is (1/4, 3/4).
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    assert chosen_logprobs(logits, torch.tensor([0, 1])).tolist() == pytest.approx(
        [math.log(0.25), math.log(0.75)]
    )


def test_scoring_switches_dropout_off(small_encoder: Encoder) -> None:
    policy = tiny_policy(small_encoder, dropout=0.4)
    policy.model.train()
    first, again = (log_likelihood(policy, PROMPTS, RESPONSES).logprob for _ in range(2))
    assert torch.equal(first, again)


def test_a_long_prompt_is_scored_by_its_end(small_policy: Policy) -> None:
    limit = small_policy.encoder.template.max_prompt_tokens
    tail = " ".join(VOCABULARY[: limit - 1])
    responses = ["a dog"] * 3
    # A word keeps the space before it, so the tail starts with one.
    scores = log_likelihood(small_policy, [f" {tail}", f"so long {tail}", "sun"], responses).logprob
    assert float(scores[0]) == pytest.approx(float(scores[1]), abs=1e-6)
    assert abs(float(scores[0] - scores[2])) > 1e-3


def test_a_prompt_is_read_once_for_its_pool(
    small_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, states = [], SharedDecoder.prompt_states

    def spy(network: SharedDecoder, ids: Tensor, mask: Tensor) -> object:
        read.append(len(ids))
        return states(network, ids, mask)

    monkeypatch.setattr(SharedDecoder, "prompt_states", spy)
    log_likelihood(small_policy, ["the cat"] * 8 + ["a dog"] * 8, (RESPONSES * 16)[:16])
    assert sum(read) == 2


@pytest.mark.parametrize("size", [1, 3, 100])
def test_parts_of_the_logits_change_neither_values_nor_gradients(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(4, 5, 6, generator=generator, requires_grad=True)
    head = torch.nn.Linear(6, 50)
    ids = torch.randint(0, 50, (4, 5), generator=generator)
    mask = torch.rand(4, 5, generator=generator) > 0.3
    expected = chosen_logprobs(head(hidden), ids).masked_fill(~mask, 0.0)
    gradients = torch.autograd.grad(expected.sum(), [hidden, head.weight])
    monkeypatch.setattr(logprobs, "TRAINED_LOGIT_BYTES", size * 50 * 4)
    actual = target_logprobs(head, 50, hidden, ids, mask)
    torch.testing.assert_close(actual, expected)
    for ours, theirs in zip(
        torch.autograd.grad(actual.sum(), [hidden, head.weight]), gradients, strict=True
    ):
        torch.testing.assert_close(ours, theirs)


HUGE_VOCABULARY = """
import resource, torch
from torch import nn
from westofn.core.logprobs import target_logprobs

torch.set_num_threads(1)
head = nn.Linear(8, 150_000)
hidden = torch.randn(32, 16, 8, requires_grad={gradient})
ids, mask = torch.randint(0, 150_000, (32, 16)), torch.ones(32, 16, dtype=torch.bool)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.set_grad_enabled({gradient}):
    result = target_logprobs(head, 150_000, hidden, ids, mask)
if {gradient}:
    result.sum().backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


@pytest.mark.parametrize(("gradient", "bound"), [(False, 0.1), (True, 0.6)])
def test_a_vocabulary_of_150_000_needs_no_gigabytes(gradient: bool, bound: float) -> None:
    """All logits are 0.29 GiB; their log softmax and its gradient need thrice that."""
    code = HUGE_VOCABULARY.format(gradient=gradient)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < bound
