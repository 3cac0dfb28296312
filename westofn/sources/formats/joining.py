"""Join a prompt and a response to one dialogue; the response may repeat parts of the prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from westofn.artifacts.table import show
from westofn.core.dialogue import ASSISTANT, HUMAN, Message, clean, to_messages
from westofn.errors import DataError
from westofn.sources.formats.rows import (
    EMPTY_RESPONSE,
    NO_SHARED_PROMPT,
    SIDES_DIFFER,
)
from westofn.sources.formats.turns import Turns

_SHORTEST_ECHO = 2
"""Fewest words of a plain prompt that is removed from responses that all begin with it."""

_MARKUP = re.compile(r"<[^<>]*>|\[/?INST\]|\[/?SYS\]")
_ASSISTANT_MARKER = re.compile(
    r"^[ \t#*]*(?:assistant|ai|bot|gpt|model|response|answer|a)\b[ \t*]*:"
    r"|###\s*(?:assistant|response)\b:?|(?:<\|\w+\|>|<start_of_turn>)\s*(?:assistant|model)?|\[/INST\]",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"\w+")
_ROLE_WORDS = {"system", "user", "assistant", "model", "System", "User", "Human", "Assistant"}


class Sides(NamedTuple):
    """The context of two responses, and the responses."""

    context: Turns
    first: str
    second: str


def join_sides(
    prompt: Turns | None, sides: tuple[Turns, Turns], names: tuple[str, str], where: str
) -> Sides | str:
    """Return the context that two sides share, and the two responses.

    Args:
        prompt: the prompt of the row, with system message and earlier turns; None: the prompt is
            the beginning that the sides share.
        sides: responses, or whole dialogues that end with the responses.
        names: paths of the sides in error messages.
        where: location of the row.

    Returns:
        The context and the responses, or the reason to drop the row.

    Raises:
        DataError: prompt and sides disagree, or a side does not end with the assistant.
    """
    first, second = sides
    prompt = without_answer(prompt, sides)
    if isinstance(first, str) and isinstance(second, str):
        return _join_texts(prompt, first, second, where)
    if isinstance(first, str) or isinstance(second, str):
        text_name = names[0] if isinstance(first, str) else names[1]
        raise DataError(
            f"{where}: column {text_name} is a text and the other side a dialogue; needs the same "
            f"form for {names[0]} and {names[1]}: mend or remove the row"
        )
    _check_ends(first, second, names, where)
    contexts = [
        _join(prompt, side[:-1], name, where)
        for side, name in zip((first, second), names, strict=True)
    ]
    if contexts[0] != contexts[1]:
        return SIDES_DIFFER
    return Sides(contexts[0], first[-1].content, second[-1].content)


def without_answer(prompt: Turns | None, sides: Sequence[Turns]) -> Turns | None:
    """Remove the last turn of a prompt that is a whole dialogue with one of the responses."""
    if not isinstance(prompt, list) or not prompt or prompt[-1].role != "assistant":
        return prompt
    answers = [side if isinstance(side, str) else side[-1].content for side in sides if side]
    return prompt[:-1] if prompt[-1].content in map(clean, answers) else prompt


def join_response(prompt: Turns | None, side: Turns, name: str, where: str) -> tuple[Turns, str]:
    """Return the context of one response, and the response.

    Raises:
        DataError: prompt and response disagree, or the response does not end with the assistant.
    """
    if isinstance(side, str):
        if prompt is None:
            raise DataError(
                f"{where}: the row has no prompt; needs one: set prepare.columns.prompt"
            )
        return prompt, side
    _check_ends(side, side, (name, name), where)
    return _join(prompt, side[:-1], name, where), side[-1].content


def join_responses(
    prompt: Turns | None, sides: Sequence[tuple[Turns, str]], where: str
) -> tuple[Turns, list[str]]:
    """Return the context that responses share, and the responses without it.

    Args:
        prompt: the prompt of the row; None: the sides are dialogues that begin with it.
        sides: responses or whole dialogues, with the paths of their columns.
        where: location of the row.

    Raises:
        DataError: prompt and sides disagree, or a side does not end with the assistant.
    """
    prompt = without_answer(prompt, [side for side, _ in sides])
    joined = [join_response(prompt, side, name, where) for side, name in sides]
    context = joined[0][0] if joined else prompt or ""
    if any(other != context for other, _ in joined):
        raise DataError(
            f"{where}: column {sides[0][1]}: the responses follow different dialogues; needs one "
            f"prompt: mend or remove the row"
        )
    responses = [response for _, response in joined]
    return context, responses if len(sides) == 1 else without_repeated_prompt(context, responses)


def _check_ends(
    first: Sequence[Message], second: Sequence[Message], names: tuple[str, str], where: str
) -> None:
    roles = [side[-1].role if side else "none" for side in (first, second)]
    if roles != ["assistant", "assistant"]:
        raise DataError(
            f"{where}: {names[0]} and {names[1]} end with roles {', '.join(roles)}; need the "
            f"assistant's message at the end of both: mend or remove the row"
        )


def _join_texts(prompt: Turns | None, first: str, second: str, where: str) -> Sides | str:
    if prompt is None:
        return _split_shared_beginning(first, second, where)
    if HUMAN in first and HUMAN in second:  # both go on with later turns
        later = [to_messages(f"{ASSISTANT} {side}") for side in (first, second)]
        if any(side[-1].role != "assistant" for side in later):
            return EMPTY_RESPONSE
        contexts = [_join(prompt, side[:-1], "a side", where) for side in later]
        if contexts[0] != contexts[1]:
            return SIDES_DIFFER
        return Sides(contexts[0], later[0][-1].content, later[1][-1].content)
    return Sides(prompt, *without_repeated_prompt(prompt, [first, second]))


def without_repeated_prompt(prompt: Turns, responses: list[str]) -> list[str]:
    """Remove a plain prompt that all responses begin with."""
    if not isinstance(prompt, str) or len(prompt.split()) < _SHORTEST_ECHO:
        return responses
    rests = [response.removeprefix(prompt) for response in responses]
    begins = all(response.startswith(prompt) for response in responses)
    if not begins or any(rest[:1].isalnum() and prompt[-1].isalnum() for rest in rests):
        return responses
    return [rest.strip() for rest in rests]


def _split_shared_beginning(first: str, second: str, where: str) -> Sides | str:
    """Split two texts after the last word that both share at their beginning."""
    pairs = enumerate(zip(first, second, strict=False))
    end = next((index for index, (a, b) in pairs if a != b), min(len(first), len(second)))
    shared = first[:end]
    # Do not cut within a word. White space goes to the responses, which are stripped later.
    if shared == shared.rstrip():
        before_and_word = shared.rsplit(maxsplit=1)
        shared = before_and_word[0] if len(before_and_word) == 2 else ""
    prompt = shared.rstrip()
    if not prompt:
        return NO_SHARED_PROMPT
    *_, last = [None, *_ASSISTANT_MARKER.finditer(prompt)]
    if last and prompt[last.end() :].strip():  # else the responses begin behind the marker
        raise DataError(
            f"{where}: both texts begin with a dialogue whose turns are marked by "
            f"{show(last[0].strip())}, and the responses with the same words; needs messages, or "
            f"the prompt and the responses in columns of their own: split the texts"
        )
    return Sides(prompt, clean(first[len(prompt) :]), clean(second[len(prompt) :]))


def _join(prompt: Turns | None, before: Sequence[Message], name: str, where: str) -> list[Message]:
    """Return the dialogue before a response; prompt and side may both hold parts of it."""
    given = list(before)
    if prompt is None or not prompt:
        return given
    if isinstance(prompt, str):
        turn = Message("user", prompt)
        if turn in given or (given and _is_rendered(prompt, given)):
            return given
        turns = [turn]
    else:
        turns = prompt
    systems = [message for message in turns if message.role == "system"]
    without_system = [message for message in turns if message.role != "system"]
    rest = given[1:] if given and given[0].role == "system" else given
    if not given or turns[-len(given) :] == given:
        return turns
    if given[: len(turns)] == turns or (not systems and rest[: len(turns)] == turns):
        return given
    if rest is given and given[: len(without_system)] == without_system:
        return [*systems, *given]
    if rest is given and _follows(turns[-1], given[0]) and given[0] not in turns:
        return [*turns, *given]
    raise DataError(
        f"{where}: the prompt ends with the {turns[-1].role}'s {show(turns[-1].content)}, and "
        f"{name} begins with the {given[0].role}'s {show(given[0].content)}; needs one dialogue: "
        f"if {name} is the whole dialogue, give a mapping without prepare.columns.prompt; if the "
        f"prompt is a system message, set prepare.columns.system to its column and "
        f"prepare.columns.prompt to none"
    )


def _is_rendered(prompt: str, messages: Sequence[Message]) -> bool:
    """Return whether a prompt is the text of messages in some chat template."""
    content = " ".join(message.content for message in messages)
    return _without_markup(prompt) == _without_markup(content)


def _without_markup(text: str) -> list[str]:
    return [word for word in _WORD.findall(_MARKUP.sub(" ", text)) if word not in _ROLE_WORDS]


def _follows(last: Message, first: Message) -> bool:
    allowed = {("user", "assistant"), ("assistant", "user"), ("system", "user")}
    return (last.role, first.role) in allowed
