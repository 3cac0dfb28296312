"""Convert the value of a cell to text or to the messages of a dialogue.

A cell holds a text, a dialogue in HH's form, a list of messages, one message, an object with
`messages`, or JSON text of these. The keys of a message are role and content (OpenAI, TRL), or from
and value (ShareGPT).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from westofn.artifacts.table import show
from westofn.core.dialogue import (
    ASSISTANT,
    Message,
    Role,
    clean,
    dialogue_of,
    is_dialogue,
    normalised,
)
from westofn.errors import DataError
from westofn.sources.columns import words_of
from westofn.sources.formats.names import DIALOGUES
from westofn.sources.formats.rows import listed, text
from westofn.sources.json_lines import json_in, kind, parsed

Turns = str | list[Message]
"""A plain text, or the messages of a dialogue; without white space at the edges."""

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "chatgpt": "assistant",
    "ai": "assistant",
    "bing": "assistant",
    "bard": "assistant",
}
_TOOL_ROLES = (
    "tool",
    "tools",
    "function",
    "function_call",
    "function_response",
    "observation",
    "ipython",
)
_TOOLS = {"tool", "tools", "functions"}
_OF_TOOLS = {"call", "calls", "available", "definitions", "schema", "schemas"}
"""Words beside those of `_TOOLS` in the names of columns with tools."""
_CALLS = ("tool_calls", "function_call", "tool_call_id")
_MEDIA = {"image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "audio",
          "audios", "video", "videos"}  # fmt: skip
_OF_MEDIA = {"url", "urls", "path", "paths", "file", "files", "name", "bytes", "data", "base64",
             "input", "prompt", "user", "question", "chosen", "rejected"}  # fmt: skip
"""Words beside those of `_MEDIA` in the names of columns with media."""
_KEYS = (("role", "content"), ("from", "value"))
_MARKER = re.compile(r"^[ \t]*(\w+)[ \t]*:", re.MULTILINE)
_PYTHON_MESSAGES = re.compile(r"""\s*\[?\s*\{\s*'(?:role|content|from|value)'""")
_TEXT_ONLY = "only the texts of prompts and responses are read"


def turns_of(value: object, name: str, where: str) -> Turns:
    """Return the value of a cell as a text or as messages.

    Args:
        value: value of the cell.
        name: path of the column in error messages.
        where: location of the row.

    Raises:
        DataError: the value is neither text nor messages, or has something that text cannot hold.
    """
    if isinstance(value, str):
        parsed = _json_messages(value)
        if parsed is not None:
            return turns_of(parsed, name, where)
        if _PYTHON_MESSAGES.match(value):
            raise DataError(
                f"{where}: column {name} is a list of messages in Python's notation; needs the "
                f"list itself or JSON: write the data as JSONL or Parquet"
            )
        checked = text(value, name, where)
        turns = dialogue_in(checked) if is_dialogue(checked) else None
        return clean(checked) if turns is None else turns
    if isinstance(value, Mapping):
        if nested := [key for key in DIALOGUES if isinstance(value.get(key), list)]:
            check_no_tools(value, name, where)
            return turns_of(value[nested[0]], f"{name}.{nested[0]}", where)
        return normalised([_message(value, name, where)])
    if isinstance(value, list):
        if value and all(isinstance(entry, str) for entry in value):
            return _alternating(value, name, where)
        return normalised([_message(entry, name, where) for entry in value])
    raise DataError(
        f"{where}: column {name} is a {kind(value)} ({show(value)}), needs text or messages: mend "
        f"or remove the row"
    )


def messages_of(value: object, name: str, where: str) -> list[Message]:
    """Return the value of a cell as messages; a plain text is one user message.

    Raises:
        DataError: see `turns_of`.
    """
    turns = turns_of(value, name, where)
    if isinstance(turns, str):
        return [Message("user", turns)] if turns else []
    return turns


def history_of(value: object, name: str, where: str) -> list[Message]:
    """Return earlier turns: messages, a dialogue's text, or a list of [user, assistant].

    Raises:
        DataError: the value has another form.
    """
    if value is None or value in ("", "[]"):
        return []
    if isinstance(value, str) and value.lstrip().startswith("[["):
        value = listed(value, name, where)
    if isinstance(value, list) and value and all(isinstance(turn, list) for turn in value):
        texts = [
            text(entry, name, where)
            for turn in value
            for entry in (turn if isinstance(turn, list) else [])
        ]
        if any(isinstance(turn, list) and len(turn) != 2 for turn in value):
            raise DataError(
                f"{where}: column {name} has turns of other lengths than 2; needs lists of "
                f"[user, assistant]: mend or remove the row"
            )
        return _alternating(texts, name, where)
    turns = turns_of(value, name, where)
    if isinstance(turns, str):
        in_text = dialogue_in(turns)
        turns = turns if in_text is None else in_text
    if isinstance(turns, str):
        raise DataError(
            f"{where}: column {name} is a text, needs earlier turns: messages, a dialogue, or a "
            f"list of [user, assistant]; for a text before the prompt, set "
            f"prepare.columns.context={name}"
        )
    return turns


def dialogue_in(content: str) -> list[Message] | None:
    r"""Return the turns of a text of turns; None if it is no dialogue.

    It is a dialogue in HH's form, or begins with a role and a colon and has turns of a user and of
    an assistant at the beginnings of lines.

    >>> [message.content for message in dialogue_in("User: Hi.\nBot: Hello!\nNote: x") or []]
    ['Hi.', 'Hello!\nNote: x']
    """
    in_hh = dialogue_of(content) if is_dialogue(content) else None
    content = clean(content)
    if in_hh is not None and ASSISTANT in f"\n\n{content}":
        return in_hh
    marks = [mark for mark in _MARKER.finditer(content) if mark[1].lower() in _ROLES]
    roles = [_ROLES[mark[1].lower()] for mark in marks]
    if not {"user", "assistant"} <= set(roles) or marks[0].start():
        return in_hh
    ends = [*(mark.start() for mark in marks[1:]), len(content)]
    texts = [clean(content[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)]
    turns = [Message(role, turn) for role, turn in zip(roles, texts, strict=True)]
    return turns if texts[-1] else turns[:-1]


def check_no_tools(values: Mapping[str, object], name: str, where: str) -> None:
    """Refuse an object with tools.

    Raises:
        DataError: the object has a key such as `tools` or `functions` with something in it.
    """
    for key, value in values.items():
        words = set(words_of(key))
        if words & _TOOLS and words <= _TOOLS | _OF_TOOLS and not is_blank(value):
            raise DataError(
                f"{where}: {f'{name}.{key}' if name else f'column {key}'} has tools; {_TEXT_ONLY}: "
                f"remove the rows with tools"
            )


def check_no_media(values: Mapping[str, object], name: str, where: str) -> None:
    """Refuse an object with images, audio or video.

    Raises:
        DataError: the object has such a key with something in it.
    """
    for key, value in values.items():
        words = {word for word in words_of(key) if not word.isdecimal()}
        if words & _MEDIA and words <= _MEDIA | _OF_MEDIA and not is_blank(value):
            raise DataError(
                f"{where}: {f'{name}.{key}' if name else f'column {key}'} has {key}, but only "
                f"text is read; remove the column if the prompts do not need it"
            )


def is_message(value: object) -> bool:
    """Return whether a value is an object with the keys of a message."""
    return isinstance(value, Mapping) and any(set(keys) <= set(value) for keys in _KEYS)


def has_messages(value: object) -> bool:
    """Return whether a value is a list of messages, or JSON text of one."""
    entries = parsed(value)
    return isinstance(entries, list) and bool(entries) and all(map(is_message, entries))


def is_blank(value: object) -> bool:
    """Return whether a cell is blank.

    Null, false, white space, an empty list or object, the texts that programs write for these, and
    lists and objects of blank values are blank.
    """
    return (
        value in (None, "", "[]", "{}", "null", "None", False)
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, list | Mapping) and all(is_blank(entry) for entry in _entries(value)))
    )


def _entries(value: Sequence[object] | Mapping[str, object]) -> Sequence[object]:
    return list(value.values()) if isinstance(value, Mapping) else value


def _json_messages(value: str) -> object:
    """Return the messages in a JSON text; None for any other text."""
    parsed = json_in(value)
    entry = parsed[0] if isinstance(parsed, list) and parsed else parsed
    if not isinstance(entry, Mapping):
        return None
    keys = (*_KEYS, *((name,) for name in DIALOGUES))
    return parsed if any(set(names) <= set(entry) for names in keys) else None


def _alternating(texts: Sequence[str], name: str, where: str) -> list[Message]:
    roles: tuple[Role, Role] = ("user", "assistant")
    return [
        Message(roles[index % 2], clean(text(entry, name, where)))
        for index, entry in enumerate(texts)
    ]


def _message(entry: object, name: str, where: str) -> Message:
    keys = next(
        (keys for keys in _KEYS if isinstance(entry, Mapping) and set(keys) <= set(entry)), None
    )
    if keys is None or not isinstance(entry, Mapping):
        description = ", ".join(entry) if isinstance(entry, Mapping) else kind(entry)
        raise DataError(
            f"{where}: column {name} has an entry of {show(description)}, needs messages with role "
            f"and content, or from and value: rename the keys"
        )
    check_no_media(entry, name, where)
    role, content = entry[keys[0]], entry[keys[1]]
    calls = [key for key in _CALLS if not is_blank(entry.get(key))]
    if calls or (isinstance(role, str) and role.lower() in _TOOL_ROLES):
        described = calls[0] if calls else f"role {role}"
        raise DataError(
            f"{where}: column {name} has a message with {described}, a tool call; "
            f"{_TEXT_ONLY}: remove the rows with tools"
        )
    if not isinstance(role, str) or role.lower() not in _ROLES:
        raise DataError(
            f"{where}: column {name} has a message of role {show(role)}; supported: "
            f"{', '.join(_ROLES)}: mend or remove the row"
        )
    return Message(_ROLES[role.lower()], _content(content, f"{name}.{keys[1]}", where))


def _content(value: object, name: str, where: str) -> str:
    """Return the text of a message, which can be a list of parts of type text."""
    if not isinstance(value, list):
        return text(value, name, where)
    texts = []
    for part in value:
        part_type = part.get("type", "text") if isinstance(part, Mapping) else "text"
        if part_type not in ("text", "input_text", "output_text"):
            raise DataError(
                f"{where}: column {name} has a part of type {show(part_type)}; "
                f"{_TEXT_ONLY}: remove the rows with images or audio"
            )
        texts.append(text(part.get("text") if isinstance(part, Mapping) else part, name, where))
    return "\n".join(texts)
