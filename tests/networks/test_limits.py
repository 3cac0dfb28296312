"""Responses of more tokens than the limits allow, beside models whose positions end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tests.chat_templates import chatting
from tests.small_families import tiny_model
from tests.tiny_encoders import write_encoder
from westofn.errors import ModelError
from westofn.models.policy import Policy, log_likelihood
from westofn.models.reward import RewardModel, Scorer
from westofn.models.scoring import pair_margins, pool_margins, score_pools, score_rows
from westofn.networks.pretrained import load_pretrained
from westofn.params.comparator import ComparatorName
from westofn.text.encoding import Encoder, Padded

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
POSITIONS = {"bert": 40, "gpt2": 40}
LONG = "the cat sat on the red moon and the dog ran up the big hill so the sun is red now"
SHORT = "so sun"
# These fit beside the whole prompt, the longer one does not.
ANSWERS = ["good", "bad dog", "good dog bad cat sun moon good dog bad cat sun moon red red sun"]
LONGER = " ".join([ANSWERS[2], "so so so so so so so so"])


def _encoder(words: PreTrainedTokenizerFast) -> Encoder:
    return Encoder(words, 20, 10, "causal")


def _scorer(
    kind: str,
    words: PreTrainedTokenizerFast,
    folder: Path,
    comparator: ComparatorName = "embedding",
) -> Scorer:
    if kind == "bert":
        backbone, encoder = load_pretrained(
            str(write_encoder("bert", folder / "bert", max_position_embeddings=POSITIONS[kind])),
            "reward_start.model",
            max_prompt_tokens=20,
            max_response_tokens=10,
        )
    else:
        encoder = _encoder(words)
        backbone = tiny_model("gpt2", encoder, n_positions=POSITIONS[kind])
    torch.manual_seed(0)
    model = RewardModel(backbone, comparator, 2)
    torch.nn.init.normal_(model.head.weight, std=0.7)
    return Scorer(model.eval(), encoder)


@torch.no_grad()
def _of_ids(scorer: Scorer, prompt: list[int], response: list[int]) -> Tensor:
    """The head's outputs of one row of these ids."""
    one, other = torch.tensor([prompt]), torch.tensor([[response]])
    states = scorer.model.prompt_states(Padded(one, torch.ones_like(one, dtype=torch.bool)))
    rows = Padded(other, torch.ones_like(other, dtype=torch.bool))
    return scorer.model.features(states, rows)[0, 0]


def _last(encoder: Encoder, prompt: str, tokens: int) -> list[int]:
    """So many of the prompt's ids, the special ones among them."""
    (ids,) = encoder.prompts([prompt])
    before = len(encoder.layout.before_prompt)
    return [*ids[:before], *ids[len(ids) - tokens + before :]]


@pytest.mark.parametrize("kind", POSITIONS)
def test_a_prompt_gives_way_to_a_long_response(
    kind: str, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    scorer = _scorer(kind, words, tmp_path)
    (whole,), (response,) = scorer.encoder.prompts([LONG]), scorer.encoder.responses([LONGER])
    room = POSITIONS[kind] - len(response)
    assert 3 < room < len(whole)
    expected = _of_ids(scorer, _last(scorer.encoder, LONG, room), response)
    torch.testing.assert_close(score_rows(scorer, [LONG], [LONGER])[0], expected, **CLOSE)


@pytest.mark.parametrize("kind", POSITIONS)
def test_other_responses_keep_the_whole_prompt(
    kind: str, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    scorer = _scorer(kind, words, tmp_path)
    pools = [[*ANSWERS, LONGER, ANSWERS[0]], [LONGER, LONGER], [*ANSWERS, SHORT]]
    prompts = [LONG, LONG, SHORT]
    together = score_pools(scorer, prompts, pools)
    for prompt, pool, found in zip(prompts, pools, together, strict=True):
        alone = torch.cat([score_rows(scorer, [prompt], [response]) for response in pool])
        torch.testing.assert_close(found, alone, **CLOSE)
    (whole,), (response,) = scorer.encoder.prompts([LONG]), scorer.encoder.responses(ANSWERS[:1])
    torch.testing.assert_close(together[0][0], _of_ids(scorer, whole, response), **CLOSE)


@pytest.mark.parametrize("kind", POSITIONS)
def test_both_responses_of_a_joint_row_count(
    kind: str, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    scorer = _scorer(kind, words, tmp_path, "joint")
    a, b = scorer.encoder.responses([ANSWERS[1], LONGER])
    (whole,) = scorer.encoder.prompts([LONG])
    room = POSITIONS[kind] - len(a) - len(b)
    assert 3 < room < len(whole)
    prompt = _last(scorer.encoder, LONG, room)
    expected = (_of_ids(scorer, prompt, a + b) - _of_ids(scorer, prompt, b + a)) / 2
    margin = pair_margins(scorer, [LONG, SHORT], [ANSWERS[1]] * 2, [LONGER] * 2)
    torch.testing.assert_close(margin[:1], expected, **CLOSE)
    pool = pool_margins(scorer, [LONG], [[*ANSWERS[:2], LONGER]])
    torch.testing.assert_close(pool[0, 1, 2:], expected, **CLOSE)


@pytest.mark.parametrize("kind", POSITIONS)
def test_a_response_that_alone_is_too_long_is_refused(
    kind: str, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    scorer = _scorer(kind, words, tmp_path)
    least = 2 if kind == "bert" else 1  # [CLS] and [SEP], or any token
    needed = rf"response 'red .* this {kind} has positions for 40, of which a prompt needs {least}"
    with pytest.raises(ModelError, match=needed):
        score_rows(scorer, [SHORT], ["red " * 50])


def test_likelihoods_are_those_of_the_prompt_that_fits(words: PreTrainedTokenizerFast) -> None:
    encoder = _encoder(words)
    policy = Policy(tiny_model("gpt2", encoder, n_positions=40), encoder)
    (response,) = encoder.responses([LONGER])
    prompt = _last(encoder, LONG, 40 - len(response))
    ids = torch.tensor([prompt + response])
    with torch.no_grad():
        scores = policy.model(input_ids=ids).logits.log_softmax(-1)[0, len(prompt) - 1 : -1]
    expected = scores.gather(1, torch.tensor(response)[:, None]).sum()
    found = log_likelihood(policy, [LONG, SHORT], [LONGER, ANSWERS[0]])
    torch.testing.assert_close(found.logprob[0], expected, atol=1e-4, rtol=1e-4)
    assert found.n_tokens.tolist()[0] == len(response)


def test_a_chat_templates_frame_stays_whole(spelling: PreTrainedTokenizerFast) -> None:
    encoder = Encoder(chatting(spelling, "chatml"), 80, 20, "causal", chat=True)
    assert encoder.chat is not None
    (least,) = encoder.prompts([""])
    assert len(least) == encoder.shortest_prompt
    (cut,) = encoder.prompts([LONG], encoder.shortest_prompt + 6)
    (whole,) = encoder.prompts([LONG])
    assert encoder.shortest_prompt < len(cut) <= encoder.shortest_prompt + 6 < len(whole)
    read = encoder.tokenizer.decode(cut)
    frame = encoder.tokenizer.decode(least)
    assert read.startswith(frame.partition("user")[0] + "user")
    assert read.endswith(frame.rpartition("<|im_end|>")[2])
