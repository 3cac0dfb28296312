"""A served language model as the judge: any OpenAI-compatible chat endpoint."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openai

from westofn.errors import JudgeError
from westofn.judging.protocol import FloatArray
from westofn.judging.question import TEMPLATE, ask, check_question
from westofn.servers.client import CHAT, Client, Contact, Server

TOP_LOGPROBS = 20  # the most that the interface allows
_ROUNDING = 1e-3  # a log-probability above it is none
OPTIONAL = {name: name for name in ("top_logprobs", "logprobs", "max_tokens", "temperature")}
"""Optional fields of a request, and how a refusal names them."""


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
    _contact: Contact = field(default_factory=Contact, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_question(self.template, self.answers)

    @property
    def _client(self) -> Client:
        return Client(self.server, self.model, CHAT, self._contact)

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
        p = np.array(self._client.ask_all(questions, self._answer), dtype=np.float64)
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

    def _answer(self, connection: openai.OpenAI, question: str) -> float:
        """One question, one probability."""
        content = {"messages": [{"role": "user", "content": question}]}
        reply = self._client.reply(connection, lambda _: content, self._optional, OPTIONAL)
        return self._client.parsed(reply, self._read)

    def _read(self, reply: Any) -> float:
        choice = reply["choices"][0]
        return read_answer(choice["message"]["content"] or "", _top_logprobs(choice), self.answers)

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
