"""SmolLM2-135M-Instruct in fp32, with and without its chat template, beside plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from westofn.core.dialogue import to_messages
from westofn.generation.hf import decode, sample
from westofn.models.policy import Policy, log_likelihood
from westofn.networks.families import load_backbone
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import load_pretrained_tokenizer

pytestmark = pytest.mark.models
ChatName = Literal["none", "model"]
TEMPLATES: tuple[ChatName, ...] = ("none", "model")
DIALOGUE = (
    "\n\nHuman: Name a fruit.\n\nAssistant: An apple.\n\nHuman: Which colour has it?\n\nAssistant:"
)
PROMPTS = ["\n\nHuman: What is the capital of France?\n\nAssistant:", DIALOGUE, DIALOGUE]
RESPONSES = [
    "The capital of France is Paris.",
    "An apple is red, green or yellow.",
    "It costs 1,250 € – naïve, isn't it?\n\n- two\n- lines",
]


@pytest.fixture(scope="module")
def backbone(smollm2: Path) -> Any:
    return load_backbone(str(smollm2)).eval()


@pytest.fixture(scope="module")
def peer(smollm2: Path) -> tuple[Any, Any]:
    """Model and tokenizer as a user of transformers loads them."""
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(smollm2)


def policy_of(backbone: Any, folder: Path, chat: ChatName, tokens: int = 64) -> Policy:
    tokenizer = load_pretrained_tokenizer(str(folder))
    return Policy(backbone, Encoder(tokenizer, 256, tokens, "causal", chat=chat == "model"))


def own_ids(tokenizer: Any, chat: ChatName, prompt: str, response: str) -> list[int]:
    """A prompt, its response and the end token as transformers alone encodes them."""
    if chat == "none":
        return [*tokenizer(f"{prompt} {response}").input_ids, tokenizer.eos_token_id]
    turns = [{"role": turn.role, "content": turn.content} for turn in to_messages(prompt)]
    turns.append({"role": "assistant", "content": response})
    ids: list[int] = tokenizer.apply_chat_template(turns, return_dict=False)
    return ids[:-1]  # the template ends a turn by a line break too


@pytest.mark.parametrize("chat", TEMPLATES)
def test_ids_are_those_of_the_tokenizer_itself(
    chat: ChatName, backbone: Any, peer: tuple[Any, Any], smollm2: Path
) -> None:
    encoder = policy_of(backbone, smollm2, chat).encoder
    prompts, responses = encoder.prompts(PROMPTS), encoder.responses(RESPONSES)
    for row, texts in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        assert prompts[row] + responses[row] == own_ids(peer[1], chat, *texts)
    assert encoder.decode(responses) == RESPONSES


@pytest.mark.parametrize("chat", TEMPLATES)
def test_log_likelihoods_are_those_of_transformers(
    chat: ChatName, backbone: Any, peer: tuple[Any, Any], smollm2: Path
) -> None:
    policy = policy_of(backbone, smollm2, chat)
    model, tokenizer = peer
    expected = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        ids = torch.tensor([own_ids(tokenizer, chat, prompt, response)])
        start = len(policy.encoder.prompts([prompt])[0])
        with torch.inference_mode():
            logprobs = model(ids).logits[0].log_softmax(-1)
        taken = logprobs[start - 1 : -1].gather(-1, ids[0, start:, None])
        expected.append(float(taken.sum()))
    result = log_likelihood(policy, PROMPTS, RESPONSES)
    assert result.logprob.tolist() == pytest.approx(expected, abs=2e-3)
    # Text that people wrote is likely to a model that reads it as they do: a fault of template,
    # seam or rotary embedding costs some nats a token.
    assert result.logprob[0] / result.n_tokens[0] > -1.0


@pytest.mark.parametrize(
    ("chat", "prompt"),
    [("none", "The capital of France is"), ("model", PROMPTS[0])],
)
def test_greedy_text_is_sane_and_that_of_generate(
    chat: ChatName, prompt: str, backbone: Any, peer: tuple[Any, Any], smollm2: Path
) -> None:
    policy = policy_of(backbone, smollm2, chat, tokens=12)
    drawn = sample(policy, [prompt], ["p"], indices=[0], temperature=1e-6, seed=0)
    ((text,),) = decode(policy, drawn)
    assert "Paris" in text
    ids = torch.tensor(policy.encoder.prompts([prompt]))
    model, tokenizer = peer
    own = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12
    )
    peers = tokenizer.decode(own[0, ids.shape[1] :], skip_special_tokens=True)
    assert text == peers.removeprefix(policy.encoder.layout.seam)
    if chat == "model":
        assert drawn.stopped.all()
