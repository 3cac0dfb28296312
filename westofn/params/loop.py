"""The section `loop`: the rounds, and where each begins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from westofn.params.base import Section
from westofn.params.file import PARAMS_FILE, load_value


class LoopItem(Section):
    """One iteration: `prev` names the one whose policy it samples and whose model is its base."""

    prev: str


def _chain_from_k0(loop: dict[str, LoopItem]) -> dict[str, LoopItem]:
    if not loop:
        raise ValueError("loop is empty; it needs at least `k1: {prev: k0}`")
    for key, item in loop.items():
        if not re.fullmatch(r"k[1-9]\d*", key):
            raise ValueError(f"loop.{key} is not an iteration name; use k1, k2, …")
        if item.prev != "k0" and item.prev not in loop:
            known = ", ".join(["k0", *loop])
            raise ValueError(f"loop.{key}.prev is {item.prev!r}, which is none of {known}")
        seen, here = {key}, item.prev
        while here != "k0":
            if here in seen:
                raise ValueError(f"loop.{key} leads back to itself; a chain ends at k0")
            seen.add(here)
            here = loop[here].prev
    return loop


Loop = Annotated[dict[str, LoopItem], AfterValidator(_chain_from_k0)]


def load_loop(path: Path = PARAMS_FILE) -> dict[str, LoopItem]:
    """The rounds by name.

    Raises:
        ParameterError: The file cannot be read, or the rounds are no chain from k0.
    """
    loop: dict[str, LoopItem] = load_value("loop", Loop, path)
    return loop
