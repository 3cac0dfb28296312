"""Sampling by a server on 127.0.0.1: N responses, resumed shards, and every refusal as one line."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from tests.generation.test_file import FRAME
from tests.judging.stub_server import Reply, refused, serve
from westofn.artifacts.candidates import CANDIDATES
from westofn.errors import ParameterError, SamplingError
from westofn.generation import server as module
from westofn.generation.sample_pools import Draw
from westofn.generation.server import Api, ServerSampler, sampling_server
from westofn.models.policy import Policy, log_likelihood
from westofn.runtime import Runtime

KEY = "sk-secret-4711"
N = 4
WORDS = ("good", "bad dog", "a red cat sat", "")


@pytest.fixture(autouse=True)
def no_proxy_and_short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


def completion(texts: list[str], reason: str = "stop", api: Api = "completions") -> Reply:
    def choice(text: str) -> dict[str, Any]:
        content = {"text": text} if api == "completions" else {"message": {"content": text}}
        return {**content, "finish_reason": reason}

    return Reply(body={"choices": [choice(text) for text in texts]})


def sampler(policy: Policy, url: str, api: Api = "completions", **settings: Any) -> ServerSampler:
    server = sampling_server(Runtime(sample_url=url, **settings))
    return ServerSampler(server, "policy-k0", api, policy, Draw(N, 0.7, seed=3))


def read(shards: Sequence[Path]) -> pl.DataFrame:
    return pl.concat(map(CANDIDATES.read, shards))


def texts_of(frame: pl.DataFrame) -> list[list[str]]:
    return frame.group_by("prompt_id", maintain_order=True).agg("response")["response"].to_list()


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_the_table_has_the_servers_texts_and_the_policys_likelihoods(
    api: Api, small_policy: Policy, tmp_path: Path
) -> None:
    def script(_: int, body: dict[str, Any]) -> Reply:
        return completion([f" {word} " for word in WORDS[: body["n"]]], api=api)

    with serve(script) as stub:
        frame = read(sampler(small_policy, stub.url, api).shards(FRAME, tmp_path, "sample"))
    CANDIDATES.validate(frame, "candidates")
    assert texts_of(frame) == [list(WORDS)] * FRAME.height
    text_of = dict(FRAME.select("prompt_id", "prompt").iter_rows())
    prompts = [text_of[name] for name in frame["prompt_id"]]
    expected = log_likelihood(small_policy, prompts, frame["response"].to_list())
    torch.testing.assert_close(torch.tensor(frame["logprob"].to_list()), expected.logprob)

    body = stub.bodies[0]
    assert (body["model"], body["temperature"], body["n"]) == ("policy-k0", 0.7, N)
    neutral = {"top_p": 1.0, "top_k": 0, "min_p": 0.0}
    neutral |= {"repetition_penalty": 1.0, "repeat_penalty": 1.0}
    assert {name: body[name] for name in neutral} == neutral
    assert body["max_tokens"] == small_policy.encoder.template.max_response_tokens
    assert set(stub.keys) == {f"Bearer {KEY}"}
    assert len({body["seed"] for body in stub.bodies}) == FRAME.height
    ids = small_policy.encoder.prompts(sorted(FRAME["prompt"]))
    if api == "completions":
        assert body["path"] == "/v1/completions"
        assert sorted(body["prompt"] for body in stub.bodies) == sorted(ids)
    else:
        assert body["path"] == "/v1/chat/completions"
        asked = [body["messages"] for body in stub.bodies]
        assert sorted(turns[0]["content"] for turns in asked) == sorted(FRAME["prompt"])
        assert {turns[0]["role"] for turns in asked} == {"user"}


def test_a_server_that_gives_one_choice_is_asked_again(
    small_policy: Policy, tmp_path: Path
) -> None:
    with serve(lambda number, _: completion([f"good {number}"])) as stub:
        frame = read(sampler(small_policy, stub.url).shards(FRAME, tmp_path, "sample"))
    assert len(stub.bodies) == N * FRAME.height
    assert len({body["seed"] for body in stub.bodies}) == N * FRAME.height
    assert frame["response"].n_unique() == frame.height


@pytest.mark.parametrize(
    ("message", "absent"),
    [
        ("Unrecognized request argument: n", "n"),
        ("seed is not supported", "seed"),
        ("Unsupported parameter: 'max_tokens'", "max_tokens"),
        ("Unrecognized request argument supplied: top_k", "top_k"),
        ("Unexpected keys: {'min_p'}", "min_p"),
    ],
)
def test_a_field_that_the_server_does_not_know_is_left_out(
    message: str, absent: str, small_policy: Policy, tmp_path: Path
) -> None:
    def script(_: int, body: dict[str, Any]) -> Reply:
        return refused(400, message) if absent in body else completion(["good"])

    with serve(script) as stub:
        frame = read(sampler(small_policy, stub.url).shards(FRAME, tmp_path, "sample"))
    assert frame.height == N * FRAME.height
    assert absent not in stub.bodies[-1]


def test_a_server_whose_sign_of_all_tokens_is_minus_one_gets_it(
    small_policy: Policy, tmp_path: Path
) -> None:
    def script(_: int, body: dict[str, Any]) -> Reply:
        if body["top_k"] == 0:
            return refused(400, "top_k must be -1 (disable), or at least 1, got 0.")
        return completion(list(WORDS))

    with serve(script) as stub:
        sampler(small_policy, stub.url).shards(FRAME, tmp_path, "sample")
    assert stub.bodies[-1]["top_k"] == -1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (422, "body.prompt: Input should be a valid string"),
        (
            500,
            "1 validation errors: {'loc': ('body', 'prompt'), 'msg': 'Input should be a string'}",
        ),
    ],
)
def test_a_server_that_refuses_ids_gets_the_text(
    status: int, message: str, small_policy: Policy, tmp_path: Path
) -> None:
    def script(_: int, body: dict[str, Any]) -> Reply:
        if isinstance(body["prompt"], list):
            return refused(status, message)
        return completion(list(WORDS))

    with serve(script) as stub:
        sampler(small_policy, stub.url).shards(FRAME, tmp_path, "sample")
    texts = {body["prompt"] for body in stub.bodies if isinstance(body["prompt"], str)}
    assert texts == set(FRAME["prompt"])


def listed(max_model_len: object, name: str = "policy-k0") -> bytes:
    return json.dumps({"data": [{"id": name, "max_model_len": max_model_len}]}).encode()


def test_a_server_with_too_little_room_is_refused_before_it_cuts(
    small_policy: Policy, tmp_path: Path
) -> None:
    """Prompts have up to 9 tokens, responses up to 8."""
    longest = max(map(len, small_policy.encoder.prompts(FRAME["prompt"].to_list())))
    needed = longest + small_policy.encoder.template.max_response_tokens
    with serve(lambda *_: completion(list(WORDS)), listed(needed - 1)) as stub:
        with pytest.raises(SamplingError) as caught:
            sampler(small_policy, stub.url).shards(FRAME, tmp_path / "small", "sample")
        assert f"reads at most {needed - 1} tokens, and prompt" in str(caught.value)
        assert f"may have {needed}; start the server with room for 18 (vLLM" in str(caught.value)
    for answer in (listed(needed), listed(None), listed(1, name="other"), b"[3]"):
        with serve(lambda *_: completion(list(WORDS)), answer) as stub:
            sampler(small_policy, stub.url).shards(FRAME, tmp_path / str(hash(answer)), "sample")


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens=32 cannot be greater than max_model_len=16.",
        "This model's maximum context length is 16 tokens. However, your prompt contains 30 input "
        "tokens.",
    ],
)
def test_a_refusal_of_a_long_text_is_no_unknown_field(
    message: str, small_policy: Policy, tmp_path: Path
) -> None:
    with (
        serve(lambda *_: refused(400, message)) as stub,
        pytest.raises(SamplingError, match="start the server with room for longer texts"),
    ):
        sampler(small_policy, stub.url).shards(FRAME, tmp_path, "sample")
    assert all(isinstance(body["prompt"], list) for body in stub.bodies)
    assert all("max_tokens" in body for body in stub.bodies)


def test_what_the_limit_cut_has_no_end_token(small_policy: Policy, tmp_path: Path) -> None:
    def drawn(reason: str) -> pl.DataFrame:
        with serve(lambda *_: completion(["bad dog"], reason)) as stub:
            return read(sampler(small_policy, stub.url).shards(FRAME, tmp_path / reason, "sample"))

    cut, ended = drawn("length"), drawn("stop")
    assert set(cut["finish_reason"]) == {"length"}
    assert set(ended["n_tokens"] - cut["n_tokens"]) == {1}
    assert (cut["logprob"] > ended["logprob"]).all()


def test_finished_shards_are_not_asked_for_again(
    small_policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "prompts_a_shard", lambda *_: 1)

    def script(number: int, _: dict[str, Any]) -> Reply:
        return completion(list(WORDS)) if number == 0 else refused(400, "no more")

    with serve(script) as stub, pytest.raises(SamplingError, match="no more"):
        sampler(small_policy, stub.url).shards(FRAME, tmp_path, "sample")
    with serve(lambda *_: completion(list(WORDS))) as stub:
        frame = read(sampler(small_policy, stub.url).shards(FRAME, tmp_path, "sample"))
    assert len(stub.bodies) == FRAME.height - 1
    assert texts_of(frame) == [list(WORDS)] * FRAME.height


def test_passing_failures_are_retried(small_policy: Policy, tmp_path: Path) -> None:
    def script(number: int, _: dict[str, Any]) -> Reply:
        if number < 2:
            return refused((429, 503)[number], "busy", Retry_After="0.01")
        return completion(list(WORDS))

    with serve(script) as stub:
        alone = sampler(small_policy, stub.url, sample_workers=1)
        frame = read(alone.shards(FRAME, tmp_path, "sample"))
    assert frame.height == N * FRAME.height
    assert len(stub.bodies) == FRAME.height + 2


REFUSALS: dict[str, tuple[Callable[[int, dict[str, Any]], Reply], str]] = {
    "another model": (
        lambda *_: refused(404, "The model does not exist"),
        "give sample.model a model that the server has",
    ),
    "a wrong key": (lambda *_: refused(401, KEY), "environment variable OPENAI_API_KEY"),
    "no JSON": (lambda *_: Reply(body=b"<html>"), "needs a completion; check that WESTOFN_SAMPLE_"),
    "no choice": (lambda *_: completion([]), "needs a completion"),
    "a text that is none": (
        lambda *_: Reply(body={"choices": [{"text": 5, "finish_reason": "stop"}]}),
        "needs a completion",
    ),
    "a filter": (lambda *_: completion(["x"], "content_filter"), "finish_reason 'content_filter'"),
    "a wrong setting": (
        lambda *_: refused(400, "temperature is too high"),
        "of sample that it names",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_one_line_without_the_key(
    case: str, small_policy: Policy, tmp_path: Path
) -> None:
    script, words = REFUSALS[case]
    with serve(script) as stub, pytest.raises(SamplingError) as caught:
        sampler(small_policy, stub.url).shards(FRAME, tmp_path, "sample")
    line = str(caught.value)
    assert line.startswith(f"sample policy-k0: {stub.url}/completions")
    assert words in line
    assert "\n" not in line
    assert KEY not in line


def test_a_server_that_is_not_there_fails_without_retries(
    small_policy: Policy, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(SamplingError, match=r"cannot be reached .* set WESTOFN_SAMPLE_URL"):
            sampler(small_policy, url).shards(FRAME, tmp_path, "sample")


def test_no_address_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"sample: .*set WESTOFN_SAMPLE_URL, or sample_url in"):
        sampling_server(Runtime())
