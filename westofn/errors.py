"""Errors that a user can cause and fix; a stage prints them as one line and exits with code 2.

Each message says where the error is, what was found, what is needed, and how to fix it.
"""

from __future__ import annotations

from westofn.plain_text import visible, without_secrets


class WestofnError(Exception):
    """Base of every expected error. Anything else that escapes a stage is a bug.

    Its text shows no control character of data and no secret of the environment.
    """

    def __str__(self) -> str:
        """Return the message as it is shown."""
        return visible(without_secrets(super().__str__()))


class ParameterError(WestofnError):
    """A key or value of params.yaml is unknown, of the wrong type or out of range."""


class DataError(WestofnError):
    """An input file or artifact is missing, empty, truncated or breaks its schema."""


class ModelError(WestofnError):
    """A model folder is missing or incomplete, or the model does not support the request."""


class JudgeError(WestofnError):
    """A preference judge cannot be asked, or its answers cannot be used."""


class RoundError(WestofnError):
    """The pools of a later round are outside the domain of the round's reward model."""


class TrainingError(WestofnError):
    """Training cannot continue: a loss is NaN, or there is no training data."""
