r"""Text of data that is safe to print: no control characters, no secrets.

A terminal obeys control characters: `\x1b]0;…` renames its window, others overwrite earlier lines
or write into the clipboard. Overrides of the direction of text show another order than there is.
"""

from __future__ import annotations

import os
import re
import textwrap

# C0 without tab and line feed, DEL, C1, separators of lines, overrides and isolates of direction,
# and half a surrogate pair, which no encoding has.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
# A path of a URL has one slash.
_USER_IN_URL = re.compile(r"(\w:/{1,2})[^/?#\s'\"]+@")
_SECRET_VARIABLE = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
_SHORTEST_SECRET = 8
HIDDEN = "(hidden)"
WIDTH = 80
_GLUE = "\x00"
# What a line break would spoil: a number and its %, a command that a reader copies.
_WHOLE = re.compile(r"\S+ %|`[^`\n]{1,50}`")


def visible(text: str) -> str:
    r"""Write control characters as escapes; tabs and line feeds stay.

    >>> visible("a\x1b]0;b\x07")
    'a\\x1b]0;b\\x07'
    """
    return _CONTROLS.sub(lambda control: ascii(control[0])[1:-1], text)


def visible_json(text: str) -> str:
    r"""Write the control characters of a JSON text as escapes; it means the same.

    >>> visible_json('"a\x9b"')
    '"a\\u009b"'
    """
    return _CONTROLS.sub(lambda control: f"\\u{ord(control[0]):04x}", text)


def without_secrets(text: str) -> str:
    """Hide names and passwords in URLs, and the values of variables named …KEY or …TOKEN.

    >>> without_secrets("https://user:word@host/v1")
    'https://(hidden)@host/v1'
    """
    secrets = (
        value.strip()
        for name, value in os.environ.items()
        if len(value.strip()) >= _SHORTEST_SECRET and _SECRET_VARIABLE.search(name)
    )
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _USER_IN_URL.sub(rf"\1{HIDDEN}@", text)


def wrapped(line: str, width: int = WIDTH) -> str:
    """Wrap a line at words; paths, commands in backticks, and numbers with their % stay whole.

    >>> print(wrapped("more than 50.0 % is cut: run `dvc repro`", 16))
    more than 50.0 %
      is cut: run
      `dvc repro`
    """
    glued = _WHOLE.sub(lambda whole: whole[0].replace(" ", _GLUE), line)
    text = textwrap.fill(
        glued, width, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )
    return text.replace(_GLUE, " ")
