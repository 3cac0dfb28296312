r"""Convert dialogues to one text and back.

The canonical text of a dialogue has the format of Anthropic's HH: a marker precedes every message,
and a prompt ends with the assistant's marker.

    \n\nSystem: …\n\nHuman: …\n\nAssistant: …\n\nHuman: …\n\nAssistant:

`to_text` and `to_messages` are inverse functions: `to_text` puts a backslash before the name of a
marker that occurs inside a message.
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
# Leading blank lines can be missing. "System:" or "Assistant:" alone can begin any text.
_OPENS = re.compile(r"Human:|(?:System|Assistant):(?s:.*)\n\nHuman:")
_TO_ESCAPE = re.compile(r"\n\n(\\*(?:System|Human|Assistant):)")
_ESCAPED = re.compile(r"\n\n\\(\\*(?:System|Human|Assistant):)")


@dataclass(frozen=True)
class Message:
    """One turn of a dialogue."""

    role: Role
    content: str


def to_text(messages: Sequence[Message]) -> str:
    r"""Write a dialogue as a prompt that ends with the assistant's marker.

    >>> to_text([Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Bye")])
    '\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant:'
    >>> to_text([Message("user", "a\n\nHuman: b")])
    '\n\nHuman: a\n\n\\Human: b\n\nAssistant:'
    """
    turns = [f"{MARKERS[m.role]} {_TO_ESCAPE.sub(_with_backslash, m.content)}" for m in messages]
    return "".join(turns) + ASSISTANT


def to_messages(text: str) -> list[Message]:
    r"""Split a prompt into messages. Text that is no dialogue is one user message.

    A dialogue begins with a marker. The blank lines before its first marker, and white space after
    its last one, may be missing or added, as in files that were stripped.

    Args:
        text: output of `to_text`, a text of HH, or any other prompt.

    Returns:
        The messages, without the empty assistant turn at the end.

    >>> [m.role for m in to_messages("\n\nSystem: Be kind.\n\nHuman: Hi\n\nAssistant:")]
    ['system', 'user']
    >>> to_messages("Human: Hi\n\nAssistant: ")
    [Message(role='user', content='Hi')]
    >>> to_messages("TITLE: a\nTL;DR:")
    [Message(role='user', content='TITLE: a\nTL;DR:')]
    """
    if not _MARKER.match(text):
        if not is_dialogue(text):
            return [Message("user", text)]
        text = f"\n\n{text.strip()}"
    if text.rstrip().endswith(ASSISTANT):
        text = text.rstrip()
    _, *parts = _MARKER.split(text.removesuffix(ASSISTANT))
    names, contents = parts[::2], parts[1::2]
    return [
        Message(_ROLES[name], _ESCAPED.sub(_without_backslash, content.removeprefix(" ")))
        for name, content in zip(names, contents, strict=True)
    ]


def is_dialogue(text: str) -> bool:
    """Return whether a text is a dialogue with markers, with or without its leading blank lines."""
    return bool(_MARKER.match(text) or _OPENS.match(text.strip()))


def normalised(messages: Sequence[Message]) -> list[Message]:
    r"""Return messages with line ends `\n`, without white space at the edges or empty systems."""
    stripped = [Message(m.role, clean(m.content)) for m in messages]
    return [m for m in stripped if m.content or m.role != "system"]


def clean(text: str) -> str:
    r"""Return a text with line ends `\n` and without white space at its edges."""
    return _line_feeds(text).strip()


def canonical(prompt: str) -> str:
    r"""Return the canonical text of a prompt, so that equivalent prompts compare equal.

    Plain text becomes a dialogue with one user turn. Line ends, white space at the edges of
    messages, and empty system messages do not matter.

    >>> canonical("Hi")
    '\n\nHuman: Hi\n\nAssistant:'
    >>> canonical("Human: Hi\n\nAssistant: ") == canonical("Hi")
    True
    """
    if not any(f"{name}:" in prompt for name in _ROLES):  # most prompts, in a tenth of the time
        return f"{HUMAN} {clean(prompt)}{ASSISTANT}"
    return to_text(dialogue_of(prompt))


def dialogue_of(text: str) -> list[Message]:
    """Split a text from outside into normalised messages, see `to_messages` and `normalised`."""
    return normalised(to_messages(_line_feeds(text)))


def _line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _with_backslash(match: re.Match[str]) -> str:
    return f"\n\n\\{match[1]}"


def _without_backslash(match: re.Match[str]) -> str:
    return f"\n\n{match[1]}"
