r"""Preferences as texts: {prompt, chosen, rejected}, or {chosen, rejected} with a common prefix.

Without a prompt column, the prompt is the common prefix: up to the last shared "\n\nAssistant:" in
two whole dialogues (Anthropic's HH: Bai et al. 2022, arXiv 2204.05862), and up to the last shared
white space in other texts (TRL's implicit prompt).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from westofn.artifacts.table import did_you_mean
from westofn.core.dialogue import ASSISTANT, HUMAN
from westofn.errors import DataError
from westofn.sources.formats.rows import (
    SIDES_DIFFER,
    Format,
    Outcome,
    Pair,
    column,
    id_of,
    pair_or_reason,
    subset_of,
    text,
)
from westofn.sources.reading import Row

NO_SHARED_PROMPT = "dropped_no_shared_prompt"

_NEEDS = "prompt, chosen, rejected (or whole dialogues in chosen, rejected)"
_MESSAGES = re.compile(r"""\s*\[\s*\{\s*['"](?:role|content)['"]""")


class Texts(Format):
    """Rows whose chosen and rejected columns are texts.

    Args:
        dialogues_only: whether texts without a prompt column must be dialogues, as in HH.
    """

    name = "texts"
    columns = (("chosen",), ("rejected",))

    def __init__(self, *, dialogues_only: bool) -> None:
        self._dialogues_only = dialogues_only
        self.drops = (SIDES_DIFFER,) if dialogues_only else (SIDES_DIFFER, NO_SHARED_PROMPT)

    def fits(self, row: Mapping[str, object]) -> bool:
        """Return whether chosen and rejected are texts."""
        return isinstance(row["chosen"], str) and isinstance(row["rejected"], str)

    def outcomes(self, rows: Iterable[Row], seed: int) -> Iterator[Outcome]:
        """Yield one outcome per row."""
        for row in rows:
            for side in ("chosen", "rejected"):
                column(row, (side,), _NEEDS)
            subset = subset_of(row)
            yield Outcome(row, subset, self._pair(row, subset))

    def _pair(self, row: Row, subset: str) -> Pair | str:
        values, where = row.values, row.where
        prompt = text(values["prompt"], "prompt", where) if "prompt" in values else None
        sides = [text(values[name], name, where) for name in ("chosen", "rejected")]
        chosen, rejected = sides
        given_id = id_of(row)
        if any(_MESSAGES.match(side) for side in sides):
            raise DataError(
                f"{where}: column chosen or rejected is a list of messages written as text; "
                f"needs the list itself: write the data as JSONL or Parquet"
            )
        if prompt is None:
            shared = self._shared(row, chosen, rejected)
            if shared in (SIDES_DIFFER, NO_SHARED_PROMPT):
                return shared
            prompt = shared
            chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
        return pair_or_reason(prompt, chosen, rejected, subset=subset, given_id=given_id)

    def _shared(self, row: Row, chosen: str, rejected: str) -> str:
        """Return the shared prompt of two whole texts, or the reason to drop the row."""
        if ASSISTANT in chosen or ASSISTANT in rejected:
            shared = _common_prefix(chosen, rejected)
            end = shared.rfind(ASSISTANT)
            if end < 0:
                return SIDES_DIFFER
            cut = end + len(ASSISTANT)
            rest = (chosen[cut:], rejected[cut:])
            if any(turn in side for turn in (HUMAN, ASSISTANT) for side in rest):
                return SIDES_DIFFER
            return shared[:cut]
        misspelt = did_you_mean("prompt", list(row.values))
        if self._dialogues_only or misspelt:
            raise DataError(
                f"{row.where}: column prompt is missing{misspelt}, and chosen is not a dialogue "
                f"with {ASSISTANT!r}; needs prompt, chosen, rejected: add the column"
            )
        shared = _common_prefix(chosen, rejected)
        # Do not cut within a word. White space goes to the responses, which are stripped later.
        if shared != shared.rstrip():
            return shared.rstrip() or NO_SHARED_PROMPT
        before_and_word = shared.rsplit(maxsplit=1)
        return before_and_word[0] if len(before_and_word) == 2 else NO_SHARED_PROMPT


def _common_prefix(left: str, right: str) -> str:
    pairs = enumerate(zip(left, right, strict=False))
    end = next((index for index, (a, b) in pairs if a != b), min(len(left), len(right)))
    return left[:end]
