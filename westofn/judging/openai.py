"""A served language model as the judge: any OpenAI-compatible chat endpoint."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openai

from westofn.errors import JudgeError, ParameterError
from westofn.judging.address import KEY_VARIABLE, require_address
from westofn.judging.protocol import FloatArray
from westofn.judging.question import TEMPLATE, ask, check_question

TOP_LOGPROBS = 20  # the most that the interface allows
_SHOWN_CHARACTERS = 200
_ROUNDING = 1e-3  # a log-probability above it is none
_REFUSED = frozenset({400, 422})


@dataclass(frozen=True)
class Server:
    """The server's address and key, and how patiently it is asked.

    Attributes:
        url: Up to and without `/chat/completions`, such as `http://127.0.0.1:8000/v1`.
        key: Sent as a bearer token; empty: none is sent. No message shows it.
        key_variable: Where the key is read from, for messages.
        workers: Requests at once.
        timeout: Seconds for a connection, and between two pieces of a reply.
        retries: Further attempts after a passing failure: no reply, or status 408, 409, 429 or
            from 500 on. The client waits for half a second before the first one, twice as long
            before each later one up to 8, or as long as the server says (Retry-After).

    Raises:
        ParameterError: The URL is none, or holds a password; or the key cannot be sent.
    """

    url: str
    key: str = field(default="", repr=False)
    key_variable: str = KEY_VARIABLE
    workers: int = 8
    timeout: float = 60.0
    retries: int = 6

    def __post_init__(self) -> None:
        require_address(self.url, self.key_variable)
        if not (self.key.isascii() and self.key.isprintable()):
            raise ParameterError(
                f"judge: the key in {self.key_variable} holds characters that no key has; set it "
                "again, without quotes or line ends"
            )

    @property
    def endpoint(self) -> str:
        """The address that takes questions."""
        return self.url.rstrip("/") + "/chat/completions"


@dataclass
class _Contact:
    """What earlier requests showed about the server."""

    reached: bool = False
    refused: frozenset[str] = frozenset()


@dataclass(frozen=True)
class OpenAiJudge:
    """P(first is better) by the log-probabilities of the answer's token, one request an order.

    The answer is read at the reply's first token that is one of the two. A server without
    log-probabilities gives 1 or 0, by the only answer that the reply's text holds; a reply without
    one is NaN, which `judge_pairs` counts and takes as a tie.

    Attributes:
        server: Where to ask.
        model: The server's name for the model.
        template: With {prompt}, {first} and {second}.
        answers: For the first and the second response.
        max_answer_tokens: The most tokens of a reply.
        max_unparsed: The largest share of a call's replies that may hold no answer.

    Raises:
        ParameterError: Template or answers cannot be used.
    """

    server: Server
    model: str
    template: str = TEMPLATE
    answers: tuple[str, str] = ("A", "B")
    max_answer_tokens: int = 8
    max_unparsed: float = 0.1
    _contact: _Contact = field(default_factory=_Contact, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_question(self.template, self.answers)

    @property
    def name(self) -> str:
        """`openai:` and the model's name."""
        return f"openai:{self.model}"

    def p_first(
        self,
        prompt_ids: Sequence[str],
        prompts: Sequence[str],
        first: Sequence[str],
        second: Sequence[str],
    ) -> FloatArray:
        """P(first is better), (n,); NaN: the reply holds no answer.

        Raises:
            JudgeError: The server cannot be reached, refuses, fails again and again, or too many
                replies hold no answer. Requests that have not started are not sent.
        """
        del prompt_ids
        rows = zip(prompts, first, second, strict=True)
        questions = [ask(self.template, *row) for row in rows]
        with (
            self._client() as client,
            ThreadPoolExecutor(max_workers=self.server.workers) as pool,
        ):
            self._reach(client)
            answers = [pool.submit(self._answer, client, question) for question in questions]
            try:
                wait(answers, return_when=FIRST_EXCEPTION)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
            for answer in answers:
                if answer.done() and not answer.cancelled():
                    answer.result()  # raises what stopped the others
        p = np.array([answer.result() for answer in answers], dtype=np.float64)
        self._check_parsed(int(np.isnan(p).sum()), len(p))
        return p

    def _check_parsed(self, unparsed: int, replies: int) -> None:
        if unparsed > self.max_unparsed * replies:
            raise JudgeError(
                f"judge {self.model} at {self.server.url}: {unparsed} of {replies} replies hold "
                f"neither answer {self.answers[0]!r} nor {self.answers[1]!r} alone, allowed is a "
                f"share of {self.max_unparsed:g}; mend study.judge.prompted.template, or raise "
                "max_answer_tokens or max_unparsed there"
            )

    def _client(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=self.server.url,
            api_key=self.server.key or "none",  # not sent then, see `_headers`
            timeout=self.server.timeout,
            max_retries=self.server.retries,
            # A redirect is not followed: the key is for this address only.
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )

    @property
    def _headers(self) -> dict[str, openai.Omit]:
        return {} if self.server.key else {"Authorization": openai.omit}

    def _reach(self, client: openai.OpenAI) -> None:
        """Ask for the list of models once, so that a wrong address fails without retries."""
        if self._contact.reached:
            return
        try:
            client.with_options(max_retries=0).models.with_raw_response.list(
                extra_headers=self._headers
            )
        except openai.APIStatusError:
            pass  # whatever it says, the server answers
        except openai.APIConnectionError as error:
            raise JudgeError(
                f"judge {self.model}: {self.server.endpoint} cannot be reached "
                f"({type(error.__cause__).__name__}); start the server, or set WESTOFN_JUDGE_URL "
                "or judge_url in runtime.toml"
            ) from None
        self._contact.reached = True

    def _answer(self, client: openai.OpenAI, question: str) -> float:
        """One question, one probability."""
        reply = self._reply(client, question)
        try:
            choice = json.loads(reply)["choices"][0]
            text = choice["message"]["content"] or ""
            return read_answer(text, _top_logprobs(choice), self.answers)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise JudgeError(
                f"judge {self.model}: {self.server.endpoint} answers {self._shown(reply)!r}, needs "
                "a chat completion; check that WESTOFN_JUDGE_URL is the address of an "
                "OpenAI-compatible server"
            ) from None

    def _reply(self, client: openai.OpenAI, question: str) -> str:
        """The reply's body; a server that does not know an optional field is asked without it."""
        while True:
            refused = self._contact.refused
            try:
                return client.chat.completions.with_raw_response.create(
                    model=self.model,
                    messages=[{"role": "user", "content": question}],
                    extra_body=self._optional(refused),
                    extra_headers=self._headers,
                ).text
            except openai.APIStatusError as error:
                status, text = error.status_code, error.response.text
            except openai.APIConnectionError as error:
                raise JudgeError(
                    f"judge {self.model}: {self.server.endpoint} gave no reply in "
                    f"{self.server.retries + 1} attempts of {self.server.timeout:g} s "
                    f"({type(error.__cause__).__name__}); rerun when it answers again, or raise "
                    "judge_timeout in runtime.toml"
                ) from None
            unknown = _unknown_field(status, text, refused)
            if unknown is None:
                raise JudgeError(self._complaint(status, self._shown(text)))
            self._contact.refused |= {unknown}

    def _optional(self, refused: frozenset[str]) -> dict[str, object]:
        """The optional fields of a request, less those that the server refuses."""
        fields: dict[str, object] = {
            "max_tokens": self.max_answer_tokens,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": TOP_LOGPROBS,
        }
        if "max_tokens" in refused:
            fields["max_completion_tokens"] = self.max_answer_tokens
        if "logprobs" in refused:
            refused |= {"top_logprobs"}
        return {name: value for name, value in fields.items() if name not in refused}

    def _complaint(self, status: int, shown: str) -> str:
        """What a refusal means and how to mend it, in one line."""
        where = f"judge {self.model}: {self.server.endpoint}"
        if status in (401, 403):  # the server's own words may repeat the key
            key = "the key was sent" if self.server.key else "no key is set"
            return (
                f"{where} answers {status}, {key}; put a key that it accepts into the "
                f"environment variable {self.server.key_variable}"
            )
        if status == 404:
            return (
                f"{where} answers 404: {shown}; give study.judge.prompted.model a model that the "
                "server has, and check the address (WESTOFN_JUDGE_URL ends before "
                "/chat/completions)"
            )
        if status in (408, 409, 429) or status >= 500:
            return (
                f"{where} answers {status} after {self.server.retries + 1} attempts: {shown}; "
                "rerun later, or lower judge_workers in runtime.toml"
            )
        return (
            f"{where} answers {status}: {shown}; mend the parameters of study.judge.prompted that "
            "it names"
        )

    def _shown(self, text: str) -> str:
        """The beginning of a body on one line, without the key."""
        if self.server.key:
            text = text.replace(self.server.key, "(key)")
        return " ".join(text.split())[:_SHOWN_CHARACTERS]


def read_answer(
    text: str,
    tokens: Sequence[tuple[str, Sequence[tuple[str, float]]]],
    answers: tuple[str, str],
) -> float:
    """P(first answer) of one reply; NaN where it holds none.

    Args:
        text: The reply, which decides where log-probabilities are NaN or positive.
        tokens: Its tokens, each with the likeliest tokens of its place and their natural
            log-probabilities; empty where the server gives none.
        answers: The two answers; white space around them does not count.

    >>> read_answer("B.", [], ("A", "B"))
    0.0
    >>> read_answer("Both A and B", [], ("A", "B"))
    nan
    >>> round(read_answer("A", [("A", [("A", -0.5), (" B", -1.5), ("C", -3.0)])], ("A", "B")), 3)
    0.731
    """
    first, second = (answer.strip() for answer in answers)
    place = next((top for token, top in tokens if token.strip() in (first, second)), None)
    if place is None and tokens:
        place = tokens[0][1]  # what else it might have answered at once
    stated = [(token.strip(), logprob) for token, logprob in place or ()]
    if all(logprob <= _ROUNDING for token, logprob in stated if token in (first, second)):
        mass = [
            sum(math.exp(logprob) for token, logprob in stated if token == answer)
            for answer in (first, second)
        ]
        if sum(mass) > 0:
            return mass[0] / sum(mass)
    held = [bool(re.search(rf"(?<!\w){re.escape(a)}(?!\w)", text)) for a in (first, second)]
    return float("nan") if held[0] == held[1] else float(held[0])


def _top_logprobs(choice: dict[str, Any]) -> list[tuple[str, list[tuple[str, float]]]]:
    """Tokens of a choice with their alternatives; empty where the server gives none."""
    content = (choice.get("logprobs") or {}).get("content") or []
    return [
        (
            str(token["token"]),
            [(str(top["token"]), float(top["logprob"])) for top in token.get("top_logprobs") or []],
        )
        for token in content
    ]


def _unknown_field(status: int, text: str, refused: frozenset[str]) -> str | None:
    """The optional field that a refusal names, if it was not left out already."""
    if status not in _REFUSED:
        return None
    optional = ("top_logprobs", "logprobs", "max_tokens", "temperature")
    return next((name for name in optional if name in text and name not in refused), None)
