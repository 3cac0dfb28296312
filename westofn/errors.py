"""Errors that a user can cause and fix; a stage prints them as one line and exits with code 2.

Each message says where the error is, what was found, what is needed, and how to fix it.
"""

from __future__ import annotations

from westofn.plain_text import without_secrets

LONGEST = 4000
"""Characters of a message; a longer one loses its middle."""
_END = 1000


class WestofnError(Exception):
    r"""Base of every expected error. Anything else that escapes a stage is a bug.

    Whatever a message quotes, it is one line: characters that do not print are escaped.

    >>> print(WestofnError("a.csv: column two\nlines"))
    a.csv: column two\nlines
    """

    def __init__(self, message: str) -> None:
        super().__init__(_one_line(message))

    def __str__(self) -> str:
        """Return the message as it is shown, without secrets of the environment."""
        return without_secrets(super().__str__())


def _one_line(message: str) -> str:
    message = _shortened(message)
    if message.isprintable():
        return message
    return _shortened(
        "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode()
            for letter in message
        )
    )


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - _END - 3]} … {text[-_END:]}"


class ParameterError(WestofnError):
    """A key or value of params.yaml is unknown, of the wrong type or out of range."""


class DataError(WestofnError):
    """An input file or artifact is missing, empty, truncated or breaks its schema."""


class ModelError(WestofnError):
    """A model folder is missing or incomplete, or the model does not support the request."""


class JudgeError(WestofnError):
    """A preference judge cannot be asked, or its answers cannot be used."""


class SamplingError(WestofnError):
    """A server or vLLM cannot be asked for samples, or its replies cannot be used."""


class RoundError(WestofnError):
    """The pools of a later round are outside the domain of the round's reward model."""


class TrainingError(WestofnError):
    """Training cannot continue: a loss is NaN, or there is no training data."""
