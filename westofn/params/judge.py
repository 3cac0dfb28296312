"""The section `study.judge`: who labels pairs for RLAIF."""

from __future__ import annotations

import string
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from westofn.params.base import Count, Fraction, NonNegative, Positive, Section

JUDGE_FIELDS = ("prompt", "first", "second")


class PromptedJudgeParams(Section):
    """A language model that is asked which of two responses is better.

    Attributes:
        model: `llm`: a folder or hub name; `openai`: the server's name for the model.
        template: The question, with {prompt}, {first} and {second}; `default`: the project's own.
        first_answer: The answer that says that the first response is better.
        second_answer: The answer that says that the second one is.
        max_tokens: `llm`: of question and answer; a longer prompt loses its beginning.
        max_answer_tokens: `openai`: of the reply; an answer that comes later is not seen.
        max_unparsed: `openai`: share of replies without an answer above which work stops; the
            others count as ties.
    """

    model: Annotated[str, Field(min_length=1)]
    template: str
    first_answer: Annotated[str, Field(min_length=1)]
    second_answer: Annotated[str, Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=16)]
    max_answer_tokens: Count
    max_unparsed: Fraction

    @property
    def answers(self) -> tuple[str, str]:
        """Both answers, first and second."""
        return self.first_answer, self.second_answer

    @model_validator(mode="after")
    def _template_and_answers_can_be_used(self) -> Self:
        if self.template != "default" and (fault := template_fault(self.template)):
            raise ValueError(f"template {fault}")
        if fault := answers_fault(self.answers):
            raise ValueError(fault)
        return self


class SimulatedJudgeParams(Section):
    """A judge of the embedded world who errs by design.

    Attributes:
        temperature: Divides the margin, in units of gold reward; smaller is more certain.
        noise: Standard deviation of what it misjudges a pair by, in units of gold reward.
        position_bias: Added for the response shown first, in units of gold reward.
        length_bias: Added for every word more, in units of gold reward a word.
    """

    temperature: Positive
    noise: NonNegative
    position_bias: float
    length_bias: float


class JudgeParams(Section):
    """Who labels pairs for RLAIF: `llm` runs here, `openai` is a server, `simulated` knows gold.

    The server's address is no parameter, see `westofn/runtime.py`.
    """

    kind: Literal["llm", "openai", "simulated"]
    prompted: PromptedJudgeParams
    simulated: SimulatedJudgeParams


def template_fault(template: str) -> str | None:
    """What is wrong with a judge's question; None where all its fields are there.

    >>> template_fault("{prompt} A: {first} B: {second}")
    >>> template_fault("{prompt} A: {first}")
    'has no {second}'
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        return f"has unpaired braces ({error}); write {{{{ and }}}} for plain ones"
    names = [name for _, name, _, _ in parts if name is not None]
    if extra := [name for name in names if name not in JUDGE_FIELDS]:
        return f"has a field {{{extra[0]}}}, needs {', '.join(JUDGE_FIELDS)}"
    if any(spec or conversion for _, _, spec, conversion in parts):
        return "has a field with a format, needs the bare name"
    missing = [name for name in JUDGE_FIELDS if name not in names]
    return f"has no {{{missing[0]}}}" if missing else None


def answers_fault(answers: tuple[str, str]) -> str | None:
    """What is wrong with a judge's two answers, white space aside; None where they can be told.

    >>> answers_fault(("A", " A"))
    "answers 'A' and ' A' cannot be told apart; give two of which none begins the other"
    """
    first, second = (answer.strip() for answer in answers)
    if not first or not second or first.startswith(second) or second.startswith(first):
        return (
            f"answers {answers[0]!r} and {answers[1]!r} cannot be told apart; give two of which "
            "none begins the other"
        )
    return None
