"""A served language model as the judge: any OpenAI-compatible chat endpoint."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any
from urllib.request import getproxies, proxy_bypass

import numpy as np
import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, MaxRetryError

from westofn.errors import JudgeError, ParameterError
from westofn.judging.protocol import FloatArray
from westofn.judging.question import TEMPLATE, ask, check_question

PASSING_STATUSES = frozenset({408, 409, 429, *range(500, 600)})  # worth asking again
TOP_LOGPROBS = 20  # the most that the interface allows
LONGEST_WAIT_SECONDS = 60  # also of what a server asks for by Retry-After
_SHOWN_CHARACTERS = 200
_REFUSED = frozenset({400, 422})


@dataclass(frozen=True)
class Server:
    """Where to ask, and how patiently.

    Attributes:
        url: Up to and without `/chat/completions`, such as `http://127.0.0.1:8000/v1`.
        key: Sent as a bearer token; empty: none is sent. No message shows it.
        key_variable: Where the key is read from, for messages.
        workers: Requests at once.
        timeout: Seconds for a connection, and between two pieces of a reply.
        retries: Further attempts after a passing failure.
        backoff: Seconds of jitter, and before the second further attempt, doubled from there on;
            the first one comes at once, or when the server says (Retry-After).

    Raises:
        ParameterError: The URL is none, or holds a password; or the key cannot be sent.
    """

    url: str
    key: str = field(default="", repr=False)
    key_variable: str = "OPENAI_API_KEY"
    workers: int = 8
    timeout: float = 60.0
    retries: int = 6
    backoff: float = 1.0

    def __post_init__(self) -> None:
        try:
            parsed = urllib3.util.parse_url(self.url)
        except LocationParseError:
            parsed = urllib3.util.Url()
        if parsed.auth:
            raise ParameterError(
                "judge: the server's address holds a name or password; leave it out, and put the "
                f"key into the environment variable {self.key_variable}"
            )
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ParameterError(
                f"judge: the server's address is {self.url!r}, needs one such as "
                "http://127.0.0.1:8000/v1; set WESTOFN_JUDGE_URL, or judge_url in runtime.toml"
            )
        if not (self.key.isascii() and self.key.isprintable()):
            raise ParameterError(
                f"judge: the key in {self.key_variable} holds characters that no key has; set it "
                "again, without quotes or line ends"
            )

    @property
    def endpoint(self) -> str:
        """The address that takes questions."""
        return self.url.rstrip("/") + "/chat/completions"

    def pool(self) -> urllib3.PoolManager:
        """Connections to the server, through the proxy that the environment names."""
        parsed = urllib3.util.parse_url(self.url)
        proxy = getproxies().get(parsed.scheme or "")
        if proxy and not proxy_bypass(parsed.host or ""):
            proxy = proxy if "//" in proxy else f"http://{proxy}"
            return urllib3.ProxyManager(proxy, maxsize=self.workers)
        return urllib3.PoolManager(maxsize=self.workers)

    def patience(self, reached: bool) -> urllib3.Retry:
        """When to ask again; a server that was never reached is not waited for."""
        return urllib3.Retry(
            total=self.retries,
            connect=self.retries if reached else 0,
            redirect=False,  # the key is for this address only
            allowed_methods=None,
            status_forcelist=PASSING_STATUSES,
            raise_on_status=False,
            backoff_factor=self.backoff / 2,  # times 2 before the second further attempt
            backoff_jitter=self.backoff,
            backoff_max=LONGEST_WAIT_SECONDS,
            retry_after_max=LONGEST_WAIT_SECONDS,
        )


@dataclass
class _Contact:
    """What was learnt about the server by asking it."""

    reached: bool = False
    refused: frozenset[str] = frozenset()
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


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
        max_answer_tokens: Of the reply.
        max_unparsed: Share of replies without an answer, of one call, above which it is refused.

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
            self.server.pool() as http,
            ThreadPoolExecutor(max_workers=self.server.workers) as pool,
        ):
            asked = [pool.submit(self._answer, http, question) for question in questions]
            try:
                wait(asked, return_when=FIRST_EXCEPTION)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
            for one in asked:
                if one.done() and not one.cancelled():
                    one.result()  # raises what stopped the others
        p = np.array([one.result() for one in asked], dtype=np.float64)
        self._check_parsed(int(np.isnan(p).sum()), len(p))
        return p

    def _check_parsed(self, unparsed: int, asked: int) -> None:
        if unparsed > self.max_unparsed * asked:
            raise JudgeError(
                f"judge {self.model} at {self.server.url}: {unparsed} of {asked} replies hold "
                f"neither answer {self.answers[0]!r} nor {self.answers[1]!r} alone, allowed is a "
                f"share of {self.max_unparsed:g}; mend study.judge.prompted.template, or raise "
                "max_answer_tokens or max_unparsed there"
            )

    def _answer(self, http: urllib3.PoolManager, question: str) -> float:
        """One question, one probability."""
        reply = self._post(http, question)
        try:
            choice = json.loads(reply)["choices"][0]
            text = choice["message"]["content"] or ""
            return read_answer(text, _top_logprobs(choice), self.answers)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise JudgeError(
                f"judge {self.model}: {self.server.endpoint} answers {self._shown(reply)!r}, needs "
                "a chat completion; check that WESTOFN_JUDGE_URL is the address of an "
                "OpenAI-compatible server"
            ) from None

    def _post(self, http: urllib3.PoolManager, question: str) -> bytes:
        """The reply's body; a server that does not know an optional field is asked without it."""
        while True:
            refused = self._contact.refused
            response = self._request(http, self._body(question, refused))
            self._contact.reached = True
            if response.status == 200:
                return response.data
            unknown = _unknown_field(response.status, response.data, refused)
            if unknown is None:
                raise JudgeError(self._complaint(response.status, response.data))
            with self._contact.lock:
                self._contact.refused |= {unknown}

    def _request(
        self, http: urllib3.PoolManager, body: dict[str, object]
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Content-Type": "application/json"}
        if self.server.key:
            headers["Authorization"] = f"Bearer {self.server.key}"
        try:
            return http.request(
                "POST",
                self.server.endpoint,
                body=json.dumps(body).encode(),
                headers=headers,
                timeout=self.server.timeout,
                retries=self.server.patience(self._contact.reached),
            )
        except HTTPError as error:
            reason = error.reason if isinstance(error, MaxRetryError) else error
            kind = type(reason).__name__
            if not self._contact.reached and kind != "ReadTimeoutError":
                raise JudgeError(
                    f"judge {self.model}: {self.server.endpoint} cannot be reached ({kind}); start "
                    "the server, or set WESTOFN_JUDGE_URL or judge_url in runtime.toml"
                ) from None
            raise JudgeError(
                f"judge {self.model}: {self.server.endpoint} gave no reply in "
                f"{self.server.retries + 1} attempts of {self.server.timeout:g} s ({kind}); rerun "
                "when it answers again, or raise judge_timeout in runtime.toml"
            ) from None

    def _body(self, question: str, refused: frozenset[str]) -> dict[str, object]:
        """What is sent, less the optional fields that the server refuses."""
        body: dict[str, object] = {
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": self.max_answer_tokens,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": TOP_LOGPROBS,
        }
        if "max_tokens" in refused:
            body["max_completion_tokens"] = self.max_answer_tokens
        if "logprobs" in refused:
            refused |= {"top_logprobs"}
        return {name: value for name, value in body.items() if name not in refused}

    def _complaint(self, status: int, data: bytes) -> str:
        """Why a reply is no use and how to mend it, in one line."""
        where = f"judge {self.model}: {self.server.endpoint}"
        match status:
            case 401 | 403:  # the server's own words may repeat the key
                found = "the key was sent" if self.server.key else "no key is set"
                return (
                    f"{where} answers {status}, {found}; put a key that it accepts into the "
                    f"environment variable {self.server.key_variable}"
                )
            case 404:
                return (
                    f"{where} answers 404: {self._shown(data)}; give "
                    "study.judge.prompted.model a model that the server has, and check the "
                    "address (WESTOFN_JUDGE_URL ends before /chat/completions)"
                )
            case _ if status in PASSING_STATUSES:
                return (
                    f"{where} answers {status} after {self.server.retries + 1} attempts: "
                    f"{self._shown(data)}; rerun later, or lower judge_workers in runtime.toml"
                )
            case _:
                return (
                    f"{where} answers {status}: {self._shown(data)}; mend the parameters of "
                    "study.judge.prompted that it names"
                )

    def _shown(self, data: bytes) -> str:
        """The beginning of a body on one line, without the key."""
        text = data.decode("utf-8", "replace")
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
        text: The reply.
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
    if place:
        mass = [
            sum(math.exp(logprob) for token, logprob in place if token.strip() == answer)
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
            [(str(one["token"]), float(one["logprob"])) for one in token.get("top_logprobs") or []],
        )
        for token in content
    ]


def _unknown_field(status: int, data: bytes, refused: frozenset[str]) -> str | None:
    """The optional field that a refusal names, if it was not left out already."""
    if status not in _REFUSED:
        return None
    text = data.decode("utf-8", "replace")
    optional = ("top_logprobs", "logprobs", "max_tokens", "temperature")
    return next((name for name in optional if name in text and name not in refused), None)
