"""The selector that `won_select.selector` asks for."""

from __future__ import annotations

from westofn.core.selection import SELECTORS, Selector
from westofn.errors import ParameterError
from westofn.plugins import entry_of

KEY = "won_select.selector"


def selector_of(name: str) -> Selector:
    """The selector of this name.

    Raises:
        ParameterError: There is no such selector.
    """
    entry = entry_of(SELECTORS, name, KEY)
    if not callable(entry):
        raise ParameterError(f"{KEY} is {name!r}, a {type(entry).__name__}; needs a function")
    return entry
