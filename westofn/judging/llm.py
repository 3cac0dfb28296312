"""A local language model as the judge: likelihoods of its two answers, not sampled text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from westofn.core.halving import in_halves
from westofn.errors import JudgeError, ModelError
from westofn.judging.protocol import FloatArray
from westofn.judging.question import TEMPLATE, ask, check_question
from westofn.networks.continuations import (
    LanguageModel,
    continuation_logprobs,
    load_language_model,
)
from westofn.progress import track

PAIRS_A_BATCH = 16
KEY = "study.judge.prompted.model"


@dataclass(frozen=True)
class _Choice:
    """Token ids of a question, and of the part of each answer that the other does not share."""

    context: list[int]
    first: list[int]
    second: list[int]

    @property
    def tokens(self) -> int:
        """Tokens of the question with the longer answer."""
        return len(self.context) + max(len(self.first), len(self.second))


@dataclass(frozen=True)
class LlmJudge:
    """P(first is better) = L(first answer) / (L(first answer) + L(second answer)).

    L is the model's likelihood of an answer's tokens after the question. A prompt that is too long
    loses its beginning, a response is never cut, and special tokens that a text spells out stay
    plain text.

    Attributes:
        language_model: Causal or encoder-decoder.
        model: The model's name, for tables and messages.
        max_tokens: The most tokens of question and answer together.
        template: With {prompt}, {first} and {second}.
        answers: For the first and the second response, with the space before them; it is left out
            where a chat turn or a decoder begins with the answer.
        batch: Pairs in one forward pass, at most; no answer depends on it.

    Raises:
        ParameterError: Template or answers cannot be used.
        ModelError: max_tokens is more than the model reads, or its tokenizer spells both answers
            alike.
    """

    language_model: LanguageModel
    model: str
    max_tokens: int
    template: str = TEMPLATE
    answers: tuple[str, str] = (" A", " B")
    batch: int = PAIRS_A_BATCH

    def __post_init__(self) -> None:
        check_question(self.template, self.answers)
        limit = self.language_model.max_tokens
        if limit is not None and self.max_tokens > limit:
            raise ModelError(
                f"judge {self.model}: max_tokens is {self.max_tokens}, the model reads {limit}; "
                f"set study.judge.prompted.max_tokens to at most {limit}"
            )
        probe = self._choice(self._text("", "", ""))
        if not _differ(probe.first, probe.second):
            raise ModelError(
                f"judge {self.model}: its tokenizer cannot tell the answers {self.answers[0]!r} "
                f"and {self.answers[1]!r}; give others, of which none begins the other"
            )

    @classmethod
    def load(
        cls,
        model: str,
        max_tokens: int,
        template: str = TEMPLATE,
        answers: tuple[str, str] = (" A", " B"),
        device: torch.device | str = "cpu",
    ) -> LlmJudge:
        """The judge of a folder or hub name.

        Raises:
            ModelError: It cannot be found, reached or read, or does not fit, see the class.
            ParameterError: Template or answers cannot be used.
        """
        check_question(template, answers)  # before weights are read for minutes
        language_model = load_language_model(model, device, KEY)
        return cls(language_model, model, max_tokens, template, answers)

    @property
    def name(self) -> str:
        """`llm:` and the model's name."""
        return name_of(self.model)

    def p_first(
        self,
        prompt_ids: Sequence[str],
        prompts: Sequence[str],
        first: Sequence[str],
        second: Sequence[str],
    ) -> FloatArray:
        """P(first is better), (n,).

        Raises:
            JudgeError: A pair has no room for its responses and any of the prompt, or its
                likelihood is NaN.
        """
        pairs = zip(prompt_ids, prompts, first, second, strict=True)
        choices = [self._fitted(*pair) for pair in pairs]
        # Questions alike in length share a batch, which saves padding.
        order = sorted(range(len(choices)), key=lambda row: choices[row].tokens)
        p = np.empty(len(choices))
        for start in track(range(0, len(order), self.batch), "judge", "batches"):
            rows = order[start : start + self.batch]
            p[rows] = in_halves([choices[row] for row in rows], self._probabilities)
        if (lost := np.isnan(p)).any():  # NaN would pass for a reply without an answer
            raise JudgeError(
                f"judge {self.model}: {lost.sum()} of {len(p)} pairs have no finite likelihood, "
                f"first of prompt {prompt_ids[int(lost.argmax())]}; its weights overflow in their "
                "precision: give a checkpoint in bfloat16 or float32"
            )
        return p

    def _probabilities(self, choices: Sequence[_Choice]) -> list[float]:
        """Softmax over the log-likelihoods of both answers."""
        logprobs = continuation_logprobs(
            self.language_model,
            [choice.context for choice in choices for _ in range(2)],
            [answer for choice in choices for answer in (choice.first, choice.second)],
        ).double()
        result: list[float] = logprobs.view(-1, 2).softmax(-1)[:, 0].tolist()
        return result

    def _fitted(self, prompt_id: str, prompt: str, first: str, second: str) -> _Choice:
        """The question in at most `max_tokens`; the prompt loses its beginning where it must."""
        prompt, first, second = map(self._plain, (prompt, first, second))
        choice = self._choice(self._text(prompt, first, second))
        left = prompt
        while choice.tokens > self.max_tokens:
            # Cutting can change how the rest is spelt, hence again until it fits.
            left = self._without_beginning(left, choice.tokens - self.max_tokens)
            if not left:
                raise JudgeError(
                    f"judge {self.model}: prompt {prompt_id} with its two responses does not fit "
                    f"{self.max_tokens} tokens, even with the prompt cut away; raise "
                    "study.judge.prompted.max_tokens or leave the pair out"
                )
            choice = self._choice(self._text(left, first, second))
        return choice

    @property
    def _chats(self) -> bool:
        tokenizer = self.language_model.tokenizer
        return bool(tokenizer.chat_template) and not self.language_model.is_encoder_decoder

    def _text(self, prompt: str, first: str, second: str) -> str:
        """The question, as a user's turn where the model has a chat template."""
        question = ask(self.template, prompt, first, second)
        if not self._chats:
            return question
        text = self.language_model.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,  # templates that know no such thing ignore it
        )
        assert isinstance(text, str)
        return text

    def _choice(self, text: str) -> _Choice:
        """Token ids of a question and of its answers, where a decoder or the text goes on."""
        if self.language_model.is_encoder_decoder:
            tokenizer = self.language_model.tokenizer
            context = list(tokenizer(text, verbose=False).input_ids)
            first, second = (self._ids(answer.strip()) for answer in self.answers)
            return _Choice(context, first, second)
        answers = [answer.lstrip() if self._chats else answer for answer in self.answers]
        # Spelt out with the question: a tokenizer may join its end and an answer's beginning.
        first, second = ([*self._bos(text), *self._ids(text + answer)] for answer in answers)
        shared = _shared(first, second)
        return _Choice(first[:shared], first[shared:], second[shared:])

    def _ids(self, text: str) -> list[int]:
        return list(
            self.language_model.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        )

    def _bos(self, text: str) -> list[int]:
        """The beginning-of-sequence token where the tokenizer sets one; a chat template has it."""
        tokenizer = self.language_model.tokenizer
        if tokenizer.bos_token is None or self._chats or text.startswith(tokenizer.bos_token):
            return []
        sets_one = tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
        return [tokenizer.bos_token_id] if sets_one else []

    def _plain(self, text: str) -> str:
        """The text without special tokens: a space breaks those that somebody typed."""
        # Llama 3's turn ends are special tokens without a role: the list of roles lacks them.
        for token in self.language_model.tokenizer.added_tokens_decoder.values():
            if token.special:
                text = text.replace(token.content, f"{token.content[0]} {token.content[1:]}")
        return text

    def _without_beginning(self, prompt: str, tokens: int) -> str:
        """The prompt without about as many tokens at its beginning."""
        offsets = self.language_model.tokenizer(
            prompt, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        ).offset_mapping
        # A character of several tokens has several offsets alike: it goes as a whole.
        starts = (start for start, _ in offsets[tokens:] if start > 0)
        return prompt[next(starts, len(prompt)) :]


def name_of(model: str) -> str:
    """What tables call the judge of a model."""
    return f"llm:{model}"


def _shared(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _differ(first: Sequence[int], second: Sequence[int]) -> bool:
    return _shared(first, second) < min(len(first), len(second))
