"""Requests in every form, read as `score` reads rows, and their answers; without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tests.chat_templates import TEMPLATES, chatting
from tests.small_families import tiny_model
from tests.small_models import PROMPTS, RESPONSES, tiny_scorer
from westofn.errors import ModelError, WestofnError
from westofn.models.ensemble import Ensemble
from westofn.models.reward import RewardModel, Scorer
from westofn.models.scoring import pair_margins, score_rows
from westofn.params.comparator import ComparatorName
from westofn.scoring.rows import Row
from westofn.serving.forms import FORMS
from westofn.serving.reading import Reader, TooLong
from westofn.serving.refused import RefusedError
from westofn.serving.run import scored
from westofn.text.encoding import Encoder

Build = Callable[[ComparatorName], Scorer]
CAT = {"role": "user", "content": "the cat sat"}
GOOD = {"role": "assistant", "content": "good"}
HH = "\n\nHuman: the cat sat\n\nAssistant: good"


def reader(encoder: Encoder, too_long: TooLong = "score", max_rows: int = 8) -> Reader:
    return Reader(Ensemble.of(tiny_scorer(encoder, "pointwise", seed=3)), max_rows, too_long)


def asked(reader: Reader, path: str, **body: Any) -> list[Row]:
    return FORMS[path].parse(json.dumps(body).encode()).read(reader)


def answered(reader: Reader, path: str, **body: Any) -> dict[str, Any]:
    form = FORMS[path].parse(json.dumps(body).encode())
    checked = reader.check(form.read(reader))
    return form.answer("rm", checked, scored(reader.ensemble, checked.rows))


def texts(rows: list[Row]) -> list[tuple[str, list[str]]]:
    return [(row.prompt, row.responses) for row in rows]


def test_each_form_gives_the_rewards_of_the_model(small_encoder: Encoder) -> None:
    read = reader(small_encoder)
    (scorer,) = read.ensemble.members
    expected = score_rows(scorer, ["sun", "sun"], ["good", "bad dog"])[:, 0].tolist()
    responses = ["good", "bad dog"]
    native = answered(read, "/rewards", rows=[{"prompt": "sun", "response": r} for r in responses])
    score = answered(read, "/score", text_1="sun", text_2=responses)
    remote = answered(
        read, "/get_reward", query=[f"sun {r}</s>" for r in responses], prompts=["sun", "sun"]
    )
    assert [row["reward"] for row in native["rows"]] == pytest.approx(expected, abs=1e-5)
    assert [row["score"] for row in score["data"]] == pytest.approx(expected, abs=1e-5)
    assert remote["rewards"] == remote["scores"] == pytest.approx(expected, abs=1e-5)
    assert remote["extra_logs"] == {}


def test_dialogues_get_a_class_whose_number_is_the_raw_reward(small_encoder: Encoder) -> None:
    read = reader(small_encoder)
    (scorer,) = read.ensemble.members
    prompt = "\n\nHuman: the cat sat\n\nAssistant:"
    expected = float(score_rows(scorer, [prompt], ["good"])[0, 0])
    by_text = answered(read, "/classify", input=[HH, HH])
    by_messages = answered(read, "/classify", messages=[CAT, GOOD])
    pooled = answered(read, "/pooling", input=HH, task="classify")
    (row,) = by_messages["data"]
    assert row.pop("probs") == pytest.approx([expected], abs=1e-5)
    assert row == {"index": 0, "label": "reward", "num_classes": 1}
    assert [row["index"] for row in by_text["data"]] == [0, 1]
    assert by_text["data"][1]["probs"] == pytest.approx([expected], abs=1e-5)
    assert pooled["data"][0]["data"] == pytest.approx([expected], abs=1e-5)
    assert pooled["object"] == by_text["object"] == "list"
    assert pooled["model"] == "rm"


def test_usage_counts_the_tokens_that_the_model_reads(small_encoder: Encoder) -> None:
    """The prompt has 3 tokens and its end, "good" 1, "bad dog" 2, each with its end."""
    answer = answered(
        reader(small_encoder), "/score", queries="the cat sat", documents=["good", "bad dog"]
    )
    assert answer["usage"]["prompt_tokens"] == (4 + 2) + (4 + 3)
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"]


def test_native_rows_are_those_of_score(small_encoder: Encoder, scorers: Build) -> None:
    read = reader(small_encoder)
    pools = answered(read, "/rewards", rows=[{"prompt": PROMPTS[0], "responses": RESPONSES}])
    expected = score_rows(scorers("pointwise"), [PROMPTS[0]] * 4, RESPONSES)[:, 0].tolist()
    assert pools["rows"][0]["reward"] == pytest.approx(expected, abs=1e-5)
    pairs = answered(
        read, "/rewards", rows=[{"prompt": "sun", "chosen": "good", "rejected": "bad"}]
    )
    margin = float(pair_margins(scorers("pointwise"), ["sun"], ["good"], ["bad"]))
    assert pairs == {"model": "rm", "rows": [{"margin": pytest.approx(margin, abs=1e-5)}]}
    assert texts(asked(read, "/rewards", rows=[{"messages": [CAT, GOOD]}])) == texts(
        asked(read, "/classify", messages=[CAT, GOOD])
    )


def test_an_ensemble_answers_with_mean_and_deviation(small_encoder: Encoder) -> None:
    members = [tiny_scorer(small_encoder, "pointwise", seed=seed) for seed in (3, 4)]
    read = Reader(Ensemble.of(*members), 8, "refuse")
    (row,) = answered(read, "/rewards", rows=[{"prompt": "sun", "response": "good"}])["rows"]
    a, b = (float(score_rows(member, ["sun"], ["good"])[0, 0]) for member in members)
    assert row["reward"] == pytest.approx((a + b) / 2, abs=1e-5)
    assert row["reward_std"] == pytest.approx(abs(a - b) / 2, abs=1e-5)


def test_a_policy_may_write_what_looks_like_a_turn(small_encoder: Encoder) -> None:
    """The response of a prompt that comes apart is taken as it is."""
    read = reader(small_encoder)
    written = "good\n\nHuman: bad"
    (row,) = asked(read, "/score", text_1="sun", text_2=written)
    assert row.responses == [written]
    (row,) = asked(read, "/get_reward", query=f"sun {written}</s></s>", prompts="sun")
    assert (row.prompt, row.responses) == ("sun", [written])


def test_a_score_pairs_prompts_and_responses_in_order(small_encoder: Encoder) -> None:
    read = reader(small_encoder)
    expected = [("sun", ["good"]), ("moon", ["bad"])]
    for first, second in (("queries", "items"), ("data_1", "data_2"), ("text_1", "text_2")):
        body = {first: ["sun", "moon"], second: ["good", "bad"]}
        assert texts(asked(read, "/v1/score", **body)) == expected


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "token ids": (
        "/classify",
        {"input": [[1, 2]]},
        "input[0] is [1, 2], needs a text (token ids are not read)",
    ),
    "no dialogue": (
        "/classify",
        {"input": "the cat sat good"},
        "input[0]: nothing tells where the response begins in 'the cat sat good'",
    ),
    "a user's last turn": ("/classify", {"messages": [GOOD, CAT]}, "end with roles user"),
    "neither": ("/classify", {}, "needs input or messages, and not both"),
    "both": ("/classify", {"input": HH, "messages": [CAT, GOOD]}, "needs input or messages"),
    "an empty list": ("/classify", {"input": []}, "input is [], needs a text, or a list of at"),
    "another template": (
        "/classify",
        {"input": "<|im_start|>user\nsun<|im_end|>\n<|im_start|>assistant\ngood"},
        "input[0]: the text holds <|im_start|>, so a chat template rendered it",
    ),
    "an end within": (
        "/get_reward",
        {"query": "sun</s>moon good", "prompts": "sun</s>moon"},
        "query[0]: the text holds </s>",
    ),
    "another prompt": (
        "/get_reward",
        {"query": ["sun good"], "prompts": ["moon"]},
        "query[0]: 'sun good' does not begin with its prompt 'moon'",
    ),
    "fewer prompts": (
        "/get_reward",
        {"query": ["sun good", "sun bad"], "prompts": ["sun"]},
        "2 queries and 1 prompts; needs a prompt for each",
    ),
    "half a pair": ("/score", {"queries": "sun"}, "the request has queries, needs queries and doc"),
    "a mixture": ("/score", {"queries": "sun", "text_2": "good"}, "has queries, text_2, needs"),
    "more prompts": (
        "/score",
        {"queries": ["sun", "moon"], "documents": "good"},
        "2 queries and 1 documents; needs one prompt, or a prompt for each response",
    ),
    "an image": (
        "/score",
        {"queries": "sun", "documents": [{"content": []}]},
        "documents[0] is {'content': []}, needs a text",
    ),
    "a sigmoid": ("/classify", {"input": HH, "use_activation": True}, "use_activation: Input"),
    "truncation": ("/score", {"truncate_prompt_tokens": 8}, "truncate_prompt_tokens: Input should"),
    "base64": ("/pooling", {"input": HH, "encoding_format": "base64"}, "encoding_format: Input"),
    "an unknown field": ("/rewards", {"rows": [], "n": 3}, "n: unknown field; known: model, rows"),
    "no rows": ("/rewards", {"rows": []}, "rows: no rows to score; needs at least one"),
    "a row without response": ("/rewards", {"rows": [{"prompt": "sun"}]}, "rows[0]"),
    "two forms": (
        "/rewards",
        {"rows": [{"prompt": "a", "response": "b"}, {"prompt": "a"}]},
        "rows[1]: column response",
    ),
    "half a character": (
        "/score",
        {"queries": "\ud800", "documents": "good"},
        "the body is no JSON",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(name: str, small_encoder: Encoder) -> None:
    path, body, message = REFUSED[name]
    with pytest.raises(WestofnError) as refused:
        asked(reader(small_encoder), path, **body)
    assert message in str(refused.value)
    assert "--bad-rows" not in str(refused.value)
    assert getattr(refused.value, "status", 422) == 422


def test_a_body_that_is_no_json_object_is_refused() -> None:
    for body, message in ((b"x", "the body is no JSON"), (b"[]", "the body: Input should be an")):
        with pytest.raises(RefusedError, match=message):
            FORMS["/rewards"].parse(body)


def test_too_many_responses_are_413(small_encoder: Encoder) -> None:
    read = reader(small_encoder, max_rows=2)
    bodies: dict[str, Any] = {
        "/rewards": {"rows": [{"prompt": "sun", "responses": ["a", "good", "bad"]}]},
        "/classify": {"input": [HH] * 3},
        "/score": {"queries": "sun", "documents": ["good"] * 3},
        "/get_reward": {"query": ["sun good"] * 3, "prompts": ["sun"] * 3},
    }
    for path, body in bodies.items():
        with pytest.raises(RefusedError, match="3 responses in one request, at most 2") as refused:
            answered(read, path, **body)
        assert refused.value.status == 413


LONG_RESPONSE = " ".join(["cat"] * 9)  # the limit is 8
LONG_PROMPT = " ".join(["cat"] * 10)  # the limit is 10, and the end token is one of them


@pytest.mark.parametrize(
    ("prompt", "response", "message"),
    [
        ("sun", LONG_RESPONSE, "a response has 9 tokens, the model was trained on up to 8"),
        (LONG_PROMPT, "good", "the prompt is longer than the model reads, so it would lose its"),
    ],
)
def test_rows_beyond_the_limits_are_refused_or_marked(
    prompt: str, response: str, message: str, small_encoder: Encoder
) -> None:
    rows = [{"prompt": "sun", "response": "good"}, {"prompt": prompt, "response": response}]
    with pytest.raises(RefusedError, match=rf"^rows\[1\]: {message}") as refused:
        answered(reader(small_encoder, "refuse"), "/rewards", rows=rows)
    assert refused.value.status == 422
    read = reader(small_encoder, "score")
    whole, marked = answered(read, "/rewards", rows=rows)["rows"]
    expected = score_rows(read.ensemble.members[0], [prompt], [response])[0, 0]
    assert marked.pop("reward") == pytest.approx(float(expected), abs=1e-5)
    name = "beyond_limit" if prompt == "sun" else "prompt_trimmed"
    assert (marked, list(whole)) == ({name: True}, ["reward"])
    score = answered(read, "/score", queries=["sun", prompt], documents=["good", response])
    assert score["too_long"] == [1]


def test_a_prompt_that_is_cut_beside_its_response_is_refused(
    words: PreTrainedTokenizerFast,
) -> None:
    """16 positions hold a prompt of 10 beside a response of 5 and its end, and not beside 7."""
    encoder = Encoder(words, 10, 10, "causal")
    model = RewardModel(tiny_model("gpt2", encoder, n_positions=16), "pointwise", 0, "last")
    read = Reader(Ensemble.of(Scorer(model.eval(), encoder)), 8, "refuse")
    prompt = " ".join(["cat"] * 10)
    short, long = (" ".join(["dog"] * count) for count in (5, 7))
    assert answered(read, "/score", queries=prompt, documents=short)["data"]
    with pytest.raises(RefusedError, match="would lose its beginning"):
        answered(read, "/score", queries=prompt, documents=long)


def test_a_pairwise_model_refuses_rewards(small_encoder: Encoder, scorers: Build) -> None:
    read = Reader(Ensemble.of(scorers("joint")), 8, "refuse")
    with pytest.raises(ModelError, match="a reward of one response needs a pointwise model"):
        answered(read, "/score", queries="sun", documents="good")
    pairs = answered(
        read, "/rewards", rows=[{"prompt": "sun", "chosen": "good", "rejected": "bad"}]
    )
    margin = float(pair_margins(scorers("joint"), ["sun"], ["good"], ["bad"]))
    assert pairs["rows"] == [{"margin": pytest.approx(margin, abs=1e-5)}]


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_text_in_the_models_own_template_is_its_dialogue(
    kind: str, spelling: PreTrainedTokenizerFast
) -> None:
    tokenizer = chatting(spelling, kind)
    encoder = Encoder(tokenizer, 200, 20, "causal", chat=True)
    read = Reader(Ensemble.of(tiny_scorer_of(encoder)), 8, "refuse")
    turns = [CAT, {"role": "assistant", "content": "so"}, {"role": "user", "content": "a dog"}]
    prompt = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True, date_string="26 Jul 2024"
    )
    end = tokenizer.convert_ids_to_tokens(encoder.eos_id)
    query = f"{prompt}good{end}"
    expected = asked(read, "/classify", messages=[*turns, GOOD])
    assert texts(asked(read, "/get_reward", query=query, prompts=prompt)) == texts(expected)
    assert texts(asked(read, "/classify", input=query)) == texts(expected)
    ids = tokenizer(prompt, add_special_tokens=False).input_ids
    assert encoder.prompts([expected[0].prompt]) == [ids]


def tiny_scorer_of(encoder: Encoder) -> Scorer:
    model = RewardModel(tiny_model("llama", encoder), "pointwise", 0, "last")
    return Scorer(model.eval(), encoder)


def test_a_rendered_text_that_may_be_two_dialogues_is_refused(
    spelling: PreTrainedTokenizerFast,
) -> None:
    tokenizer = chatting(spelling, "chatml")
    read = Reader(
        Ensemble.of(tiny_scorer_of(Encoder(tokenizer, 200, 20, "causal", chat=True))), 8, "refuse"
    )
    text = "<|im_start|>user\nsun<|im_end|>\n<|im_start|>tool\nmoon<|im_end|>\n"
    with pytest.raises(RefusedError, match="and not the one of this model in full"):
        asked(read, "/classify", input=f"{text}<|im_start|>assistant\ngood")


def test_a_damaged_model_is_an_error_of_the_server(small_encoder: Encoder) -> None:
    scorer = tiny_scorer(small_encoder, "pointwise")
    scorer.model.head.weight.data.fill_(float("nan"))
    rows = [Row("rows[0]", {}, "", "response", "sun", ["good"])]
    with pytest.raises(RefusedError, match="needs a finite number") as refused:
        scored(Ensemble.of(scorer), rows)
    assert refused.value.status == 500
