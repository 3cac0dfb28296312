"""The errors that a user can cause and mend; a stage shows them as one line and exits with code 2.

Each message says what was found, what is needed, where, and how to mend it.
"""

from __future__ import annotations


class WestofnError(Exception):
    """Base of every expected error. Anything else that escapes a stage is a bug."""


class ParameterError(WestofnError):
    """A key or value of params.yaml is unknown, of the wrong type or out of range."""


class DataError(WestofnError):
    """An input file or artifact is missing, empty, truncated or breaks its schema."""


class ModelError(WestofnError):
    """A model directory is missing, incomplete, or does not fit what is asked of it."""


class JudgeError(WestofnError):
    """A preference judge cannot be asked, or its answers cannot be used."""


class RoundError(WestofnError):
    """A later round of the loop would train on pools that its reward model cannot judge."""


class TrainingError(WestofnError):
    """Training cannot go on: a loss is NaN, or there is nothing to train on."""
