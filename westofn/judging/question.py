"""The question that a language model is asked, and its two possible answers."""

from __future__ import annotations

from westofn.errors import ParameterError
from westofn.params.judge import answers_fault, template_fault

TEMPLATE = """\
You compare two responses to the same prompt. A good response does what the prompt asks for, is \
true to what the prompt says, and wastes no words. The order of the responses and their length \
say nothing about their worth.

Prompt:
{prompt}

Response A:
{first}

Response B:
{second}

Which response is better? Reply with one letter, A or B.
Better response:"""


def check_question(template: str, answers: tuple[str, str]) -> None:
    """Refuse a template that lacks a field, and answers that cannot be told apart.

    Raises:
        ParameterError: What is wrong with them.
    """
    if fault := template_fault(template):
        raise ParameterError(f"judge: template {fault}")
    if fault := answers_fault(answers):
        raise ParameterError(f"judge: {fault}")


def ask(template: str, prompt: str, first: str, second: str) -> str:
    """The question in words; braces in a prompt or response stay as they are.

    >>> ask("{prompt}: {first} or {second}?", "choose {x}", "1", "2")
    'choose {x}: 1 or 2?'
    """
    return template.format(prompt=prompt, first=first, second=second)
