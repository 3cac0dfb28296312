"""The served judge against a real server on 127.0.0.1: what it asks, reads, waits for, refuses."""

from __future__ import annotations

import logging
import math
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.judging.stub_server import Reply, Script, Stub, refused, said, serve
from westofn.errors import JudgeError, ParameterError
from westofn.judging.openai import OpenAiJudge, read_answer
from westofn.judging.protocol import FloatArray, judge_pairs, position_flip_rate
from westofn.judging.shards import judge_in_shards
from westofn.servers.client import Server

KEY = "sk-secret-4711"
TEMPLATE = "{prompt}|{first}|{second}"


@pytest.fixture(autouse=True)
def no_proxy_and_short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


NO_COMPLETIONS: dict[str, Any] = {
    "nothing": b"",
    "HTML": b"<html>",
    "20 MB of HTML": b"<p>A</p>" * 2_500_000,
    "half a reply": b'{"choices": [{"message": {"content": "A"',
    "no UTF-8": b"\xff\xfe\x00",
    "brackets without end": b"[" * 100_000,
    "null": None,
    "a list": [],
    "a text": "A",
    "no choice": {"choices": []},
    "an empty choice": {"choices": [{}]},
    "a choice that is a text": {"choices": ["A"]},
    "choices that are an object": {"choices": {"text": "A"}},
    "an error with status 200": {"error": {"message": "overloaded"}},
    "a number for the text": {"choices": [{"message": {"content": 5}}]},
    "parts for the text": {"choices": [{"message": {"content": [{"type": "text", "text": "A"}]}}]},
    "log-probabilities of texts": {
        "choices": [
            {
                "message": {"content": "A"},
                "logprobs": {
                    "content": [
                        {"token": "A", "top_logprobs": [{"token": "A", "logprob": "likely"}]}
                    ]
                },
            }
        ]
    },
}


def judge_of(url: str, **changes: Any) -> OpenAiJudge:
    where: dict[str, Any] = {"workers": 4, "timeout": 5.0, "retries": 2}
    what: dict[str, Any] = {"template": TEMPLATE}
    for name, value in changes.items():
        (where if name in Server.__dataclass_fields__ else what)[name] = value
    return OpenAiJudge(Server(url, **where), "m1", **what)


def ask(judge: OpenAiJudge, rows: int = 1) -> FloatArray:
    numbers = [str(row) for row in range(rows)]
    return judge.p_first(numbers, ["x"] * rows, numbers, ["b"] * rows)


def worth(body: dict[str, Any]) -> float:
    """Words of the first response less those of the second."""
    _, first, second = body["messages"][0]["content"].split("|")
    return float(len(first.split()) - len(second.split()))


def complaint(script: Script, **changes: Any) -> tuple[str, Stub]:
    """The one line of the error that a script leads to."""
    with serve(script) as stub, pytest.raises(JudgeError) as caught:
        ask(judge_of(stub.url, **changes))
    line = str(caught.value)
    assert "\n" not in line
    assert KEY not in line
    return line, stub


class TestAnswers:
    """How a reply becomes a probability."""

    def test_log_probabilities_are_normalised_over_the_two_answers(self) -> None:
        top = {"A": math.log(0.5), "B": math.log(0.125), "Both": math.log(0.3)}
        with serve(lambda number, body: said("A", top)) as stub:
            assert ask(judge_of(stub.url))[0] == pytest.approx(0.8)  # 0.5 / 0.625

    def test_tokens_that_differ_in_white_space_are_one_answer(self) -> None:
        top = {"A": math.log(0.2), " A": math.log(0.1), "\nB": math.log(0.1)}
        with serve(lambda number, body: said(" A", top)) as stub:
            assert ask(judge_of(stub.url))[0] == pytest.approx(0.75)

    @pytest.mark.parametrize(("text", "p"), [("A", 1.0), (" B.", 0.0), ("Response **B**", 0.0)])
    def test_without_log_probabilities_the_text_decides(self, text: str, p: float) -> None:
        with serve(lambda number, body: said(text)) as stub:
            assert ask(judge_of(stub.url)).tolist() == [p]

    @pytest.mark.parametrize("text", ["", "Both", "A or B", "Apple", "a"])
    def test_a_reply_without_one_answer_is_no_answer(self, text: str) -> None:
        assert math.isnan(read_answer(text, [], ("A", "B")))

    def test_the_answer_may_come_after_other_tokens(self) -> None:
        tokens = [("Response", [("Response", -0.1), ("A", -9.0)]), (" B", [(" B", 0.0)])]
        assert read_answer("Response B", tokens, ("A", "B")) == 0.0

    def test_what_it_would_have_said_counts_where_it_evades(self) -> None:
        tokens = [("Both", [("Both", -0.1), ("A", -4.0), ("B", -5.0)])]
        assert read_answer("Both", tokens, ("A", "B")) == pytest.approx(1 / (1 + math.exp(-1)))

    @pytest.mark.parametrize("odd", [math.nan, math.inf, 5.0, 1e308])
    def test_log_probabilities_that_are_none_leave_it_to_the_text(self, odd: float) -> None:
        for top in ([("A", odd), ("B", -1.0)], [("A", -1.0), ("B", odd)]):
            assert read_answer("B", [("B", top)], ("A", "B")) == 0.0
            assert math.isnan(read_answer("A or B", [("A", top)], ("A", "B")))

    def test_few_replies_without_an_answer_are_ties_and_counted(self) -> None:
        # Each pair is asked twice; the reply to pair 3 evades in both orders.
        def script(number: int, body: dict[str, Any]) -> Reply:
            return said("well" if "3" in body["messages"][0]["content"] else "A")

        with serve(script) as stub:
            ids = [str(row) for row in range(10)]
            judge = judge_of(stub.url, max_unparsed=0.1)
            verdicts = judge_pairs(judge, ids, ["x"] * 10, ids, ["b"] * 10)
        assert verdicts.unanswered.tolist() == [0, 0, 0, 2, 0, 0, 0, 0, 0, 0]
        assert verdicts.p_forward[3] == verdicts.p_backward[3] == 0.5
        assert position_flip_rate(verdicts.p_forward, verdicts.p_backward) == pytest.approx(
            0.95
        )  # nine flips and a tie

    def test_many_replies_without_an_answer_are_refused(self) -> None:
        def script(number: int, body: dict[str, Any]) -> Reply:
            return said("well" if body["messages"][0]["content"][2] in "34" else "A")

        with serve(script) as stub:
            with pytest.raises(JudgeError, match="2 of 10 replies hold neither answer 'A' nor 'B'"):
                ask(judge_of(stub.url, max_unparsed=0.1), 10)
            assert np.isnan(ask(judge_of(stub.url, max_unparsed=0.2), 10)).sum() == 2


class TestRequests:
    """What is sent."""

    def test_one_request_a_pair_and_order_says_it_all(self) -> None:
        with serve(lambda number, body: said("A")) as stub:
            judge_pairs(judge_of(stub.url, key=KEY), ["p"], ["the post"], ["good"], ["bad"])
        assert [body["messages"][0]["content"] for body in stub.bodies] == [
            "the post|good|bad",
            "the post|bad|good",
        ]
        assert {body["path"] for body in stub.bodies} == {"/v1/chat/completions"}
        assert stub.bodies[0]["model"] == "m1"
        assert stub.bodies[0]["temperature"] == 0
        assert stub.bodies[0]["top_logprobs"] == 20
        assert set(stub.keys) == {f"Bearer {KEY}"}

    def test_without_a_key_none_is_sent(self) -> None:
        with serve(lambda number, body: said("A")) as stub:
            ask(judge_of(stub.url + "/"))
        assert stub.keys == [None]
        assert stub.bodies[0]["path"] == "/v1/chat/completions"

    def test_answers_stand_in_the_order_of_the_pairs_whatever_comes_first(self) -> None:
        def script(number: int, body: dict[str, Any]) -> Reply:
            row = int(body["messages"][0]["content"].split("|")[1])
            reply = said("A" if row % 3 else "B")
            return Reply(reply.status, reply.body, delay=0.02 * (row % 2 == 0))

        with serve(script) as stub:
            said_of = ask(judge_of(stub.url), 12)
        assert said_of.tolist() == [float(row % 3 > 0) for row in range(12)]
        assert 2 <= stub.at_once <= 4  # workers

    @pytest.mark.parametrize(
        ("message", "left_out", "sent"),
        [
            ("logprobs is not supported with this model", {"logprobs", "top_logprobs"}, set()),
            (
                "use max_completion_tokens, not max_tokens",
                {"max_tokens"},
                {"max_completion_tokens"},
            ),
            ("Unsupported value: temperature", {"temperature"}, {"logprobs"}),
        ],
    )
    def test_a_field_that_the_server_does_not_know_is_left_out_from_then_on(
        self, message: str, left_out: set[str], sent: set[str]
    ) -> None:
        def script(number: int, body: dict[str, Any]) -> Reply:
            return refused(400, message) if left_out & body.keys() else said("A")

        with serve(script) as stub:
            judge = judge_of(stub.url, workers=1)
            assert ask(judge).tolist() == [1.0]
            assert ask(judge, 2).tolist() == [1.0, 1.0]
        assert len(stub.bodies) == 4  # only the first question was asked twice
        for body in stub.bodies[1:]:
            assert not left_out & body.keys()
            assert sent <= body.keys()


class TestPatience:
    """Passing failures are waited for, lasting ones are not."""

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    def test_a_passing_failure_is_asked_again(self, status: int) -> None:
        with serve(lambda n, body: refused(status, "later") if n < 2 else said("A")) as stub:
            assert ask(judge_of(stub.url)).tolist() == [1.0]
        assert len(stub.bodies) == 3

    def test_the_server_says_how_long_to_wait(self) -> None:
        def script(number: int, body: dict[str, Any]) -> Reply:
            return refused(429, "slow down", Retry_After="1") if number == 0 else said("B")

        with serve(script) as stub:
            assert ask(judge_of(stub.url)).tolist() == [0.0]
        assert 0.95 < stub.times[1] - stub.times[0] < 4

    def test_waits_grow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.2)
        with serve(lambda n, body: refused(500, "no") if n < 3 else said("A")) as stub:
            ask(judge_of(stub.url, retries=3))
        waits = np.diff(stub.times)
        # 0.2, 0.4 and 0.8 seconds, each less up to a quarter.
        assert waits[0] >= 0.15
        assert waits[1] >= 0.3
        assert waits[2] >= 0.6

    def test_a_failure_that_lasts_ends_with_its_words(self) -> None:
        line, stub = complaint(lambda n, body: refused(500, f"broken {KEY}"), key=KEY)
        assert len(stub.bodies) == 3
        assert f"{stub.url}/chat/completions answers 500 after 3 attempts" in line
        assert "broken (key)" in line
        assert "rerun later" in line

    def test_a_reply_that_does_not_come_is_asked_for_again(self) -> None:
        def script(number: int, body: dict[str, Any]) -> Reply:
            reply = said("A")
            return Reply(200, reply.body, delay=0.6 if number == 0 else 0.0)

        with serve(script) as stub:
            assert ask(judge_of(stub.url, timeout=0.2)).tolist() == [1.0]
        assert len(stub.bodies) == 2

    def test_a_server_that_never_replies_is_given_up(self) -> None:
        line, stub = complaint(lambda n, body: Reply(delay=0.5), timeout=0.1, retries=1, workers=1)
        assert len(stub.bodies) == 2
        assert "gave no reply in 2 attempts of 0.1 s" in line
        assert "judge_timeout" in line


class TestRefusals:
    """One line, at once, without the key."""

    def test_a_wrong_key(self) -> None:
        line, stub = complaint(
            lambda n, b: refused(401, f"Incorrect key {KEY}"), key=KEY, workers=1
        )
        assert len(stub.bodies) == 1
        assert f"{stub.url}/chat/completions answers 401, the key was sent" in line
        assert "environment variable OPENAI_API_KEY" in line

    def test_no_key_where_one_is_needed(self) -> None:
        line, _ = complaint(lambda n, b: refused(403, "no"), key_variable="MY_KEY")
        assert "answers 403, no key is set" in line
        assert "environment variable MY_KEY" in line

    def test_the_first_refusal_stops_the_others(self) -> None:
        with serve(lambda n, b: refused(401, "no")) as stub:
            with pytest.raises(JudgeError, match="401"):
                ask(judge_of(stub.url, workers=2), 100)
            assert len(stub.bodies) < 20

    def test_an_unknown_model(self) -> None:
        line, stub = complaint(lambda n, b: refused(404, "The model m1 does not exist"), workers=1)
        assert len(stub.bodies) == 1
        assert "answers 404" in line
        assert "The model m1 does not exist" in line
        assert "judge.prompted.model" in line

    def test_a_parameter_that_is_no_option(self) -> None:
        line, _ = complaint(lambda n, b: refused(400, f"context too long, {KEY}"), key=KEY)
        assert 'answers 400: {"error": {"message": "context too long, (key)"}}' in line

    def test_a_server_that_was_never_reached_is_not_waited_for(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(JudgeError) as caught:
            ask(judge_of(f"http://127.0.0.1:{port}/v1", retries=1000), 20)
        assert time.monotonic() - started < 2
        assert f"http://127.0.0.1:{port}/v1/chat/completions cannot be reached" in str(caught.value)
        assert "WESTOFN_JUDGE_URL" in str(caught.value)

    @pytest.mark.parametrize("body", [*NO_COMPLETIONS.values()], ids=[*NO_COMPLETIONS])
    def test_a_reply_of_something_else(self, body: Any) -> None:
        line, _ = complaint(lambda n, b: Reply(body=body))
        assert "needs a chat completion" in line

    def test_a_redirect_is_not_followed_with_the_key(self) -> None:
        with serve(lambda n, b: said("A")) as other:
            moved = Reply(307, {}, {"Location": f"{other.url}/chat/completions"})
            line, _ = complaint(lambda n, b: moved, key=KEY)
        assert "answers 307" in line
        assert other.bodies == []

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("", "address is '', needs one such as"),
            ("localhost:8000", "set WESTOFN_JUDGE_URL"),
            ("ftp://host/v1", "needs one such as"),
            (f"http://me:{KEY}@host/v1", "holds a name or password, a query .*; leave it out"),
            (f"me:{KEY}@host/v1", "holds a name or password, a query .*; leave it out"),
            (f"http://host/v1?key={KEY}", "holds a name or password, a query .*; leave it out"),
        ],
    )
    def test_an_address_that_is_none(self, url: str, message: str) -> None:
        with pytest.raises(ParameterError, match=message) as caught:
            Server(url)
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize("key", [f"{KEY}\nX-Evil: 1", f"{KEY}é"])
    def test_a_key_that_cannot_be_sent(self, key: str) -> None:
        with pytest.raises(ParameterError, match="the key in MY_KEY holds characters") as caught:
            Server("http://host/v1", key=key, key_variable="MY_KEY")
        assert KEY not in str(caught.value)

    def test_the_key_is_in_no_log_and_no_repr(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        with serve(lambda n, b: refused(500, KEY) if n == 0 else said("A")) as stub:
            judge = judge_of(stub.url, key=KEY)
            ask(judge)
        assert caplog.records
        assert KEY not in caplog.text
        assert KEY not in repr(judge)


def biased(number: int, body: dict[str, Any]) -> Reply:
    """A judge who likes words, and likes even more what is shown first."""
    p = 1 / (1 + math.exp(-(worth(body) + 1.5)))
    return said("A" if p > 0.5 else "B", {"A": math.log(p), "B": math.log(1 - p)})


def test_a_position_bias_of_the_server_does_not_change_the_winner() -> None:
    first, second = ["a b", "a", "a b c d", "a"], ["a", "a b", "a", "a b c d"]
    with serve(biased) as stub:
        judge = judge_of(stub.url)
        verdicts = judge_pairs(judge, ["p"] * 4, ["x"] * 4, first, second)
    mean = (verdicts.p_forward + verdicts.p_backward) / 2
    assert [p > 0.5 for p in mean] == [True, False, True, False]
    assert (
        position_flip_rate(verdicts.p_forward, verdicts.p_backward) == 0.5
    )  # margins of 1 flip, of 3 do not
    # Margin 1: the mean of sigmoid(2.5) and of 1 − sigmoid(0.5).
    assert mean[0] == pytest.approx((0.924142 + 1 - 0.622459) / 2, abs=1e-5)


def test_paid_verdicts_are_not_asked_for_again(tmp_path: Path) -> None:
    pairs = pl.DataFrame(
        {
            "prompt_id": [f"p{row}" for row in range(6)],
            "prompt": ["x"] * 6,
            "first": ["a b"] * 6,
            "second": ["c"] * 6,
        }
    )
    with serve(lambda n, b: said("A") if n < 5 else refused(401, "expired")) as stub:
        with pytest.raises(JudgeError, match="401"):
            judge_in_shards(judge_of(stub.url, workers=1), pairs, tmp_path, size=2)
        assert len(stub.bodies) == 6
    with serve(biased) as stub:
        frame = judge_in_shards(judge_of(stub.url), pairs, tmp_path, size=2)
        assert len(stub.bodies) == 8  # two of three shards, two pairs each, both orders
    assert frame["judge"].unique().to_list() == ["openai:m1"]
    assert frame["p_forward"].to_list()[:2] == [1.0, 1.0]
