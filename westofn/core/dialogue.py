r"""Dialogues as one text, and back.

The canonical text of a dialogue is the form of Anthropic's HH: every message follows a marker, and
a prompt ends where the assistant is to speak.

    \n\nSystem: …\n\nHuman: …\n\nAssistant: …\n\nHuman: …\n\nAssistant:

`to_text` and `to_messages` are inverse to each other: a marker that a message itself contains is
told apart by a backslash before its name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]

MARKERS: dict[Role, str] = {
    "system": "\n\nSystem:",
    "user": "\n\nHuman:",
    "assistant": "\n\nAssistant:",
}
HUMAN, ASSISTANT = MARKERS["user"], MARKERS["assistant"]

_ROLES: dict[str, Role] = {"System": "system", "Human": "user", "Assistant": "assistant"}
_MARKER = re.compile(r"\n\n(System|Human|Assistant):")
_OPENS = re.compile(r"(?i:System|Human|Assistant):")
_TO_ESCAPE = re.compile(r"\n\n(\\*(?:System|Human|Assistant):)")
_ESCAPED = re.compile(r"\n\n\\(\\*(?:System|Human|Assistant):)")


@dataclass(frozen=True)
class Message:
    """One turn of a dialogue."""

    role: Role
    content: str


def to_text(messages: Sequence[Message]) -> str:
    r"""Write a dialogue as a prompt, which ends with the marker of the assistant.

    >>> to_text([Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Bye")])
    '\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant:'
    >>> to_text([Message("user", "a\n\nHuman: b")])
    '\n\nHuman: a\n\n\\Human: b\n\nAssistant:'
    """
    turns = [f"{MARKERS[m.role]} {_TO_ESCAPE.sub(_with_backslash, m.content)}" for m in messages]
    return "".join(turns) + ASSISTANT


def to_messages(text: str) -> list[Message]:
    r"""Read a prompt as a dialogue. Text that does not begin with a marker is one user message.

    Args:
        text: what `to_text` wrote, HH's own text, or any other prompt.

    Returns:
        The messages, without the assistant's empty turn at the end.

    >>> [m.role for m in to_messages("\n\nSystem: Be kind.\n\nHuman: Hi\n\nAssistant:")]
    ['system', 'user']
    >>> to_messages("TITLE: a\nTL;DR:")
    [Message(role='user', content='TITLE: a\nTL;DR:')]
    """
    if not _MARKER.match(text):
        return [Message("user", text)]
    _, *parts = _MARKER.split(text.removesuffix(ASSISTANT))
    names, contents = parts[::2], parts[1::2]
    return [
        Message(_ROLES[name], _ESCAPED.sub(_without_backslash, content.removeprefix(" ")))
        for name, content in zip(names, contents, strict=True)
    ]


def canonical(prompt: str) -> str:
    r"""The one spelling of prompts that ask the same: a bare text is a dialogue of one user turn.

    White space around the whole and the case of markers do not count, so that a dialogue which lost
    the blank lines at its beginning is still one.

    >>> canonical("Hi")
    '\n\nHuman: Hi\n\nAssistant:'
    >>> canonical("Human: Hi\n\nAssistant: ") == canonical("Hi")
    True
    """
    bare = prompt.strip()
    if not _OPENS.match(bare):
        return to_text([Message("user", bare)])
    dialogue = f"\n\n{bare}"
    return dialogue if dialogue.lower().endswith(ASSISTANT.lower()) else dialogue + ASSISTANT


def opening(prompt: str) -> str:
    r"""The canonical text before the assistant first speaks: what a dialogue's turns share.

    >>> opening("Hi") == opening("\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant:")
    True
    """
    return canonical(prompt).split(ASSISTANT, 1)[0]


def _with_backslash(match: re.Match[str]) -> str:
    return f"\n\n\\{match[1]}"


def _without_backslash(match: re.Match[str]) -> str:
    return f"\n\n{match[1]}"
