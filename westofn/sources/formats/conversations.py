"""Preferences as lists of messages {role, content}, with or without the prompt's messages.

This is TRL's conversational format. It also covers the binarized UltraFeedback (Tunstall et al.
2023), which has a text prompt, two whole dialogues and their scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from westofn.artifacts.table import show
from westofn.core.dialogue import Message, Role, to_text
from westofn.errors import DataError
from westofn.sources.formats.rows import (
    EQUAL_SCORES,
    SIDES_DIFFER,
    Format,
    Outcome,
    Pair,
    column,
    id_of,
    listed,
    number,
    pair_or_reason,
    subset_of,
    text,
)
from westofn.sources.json_lines import kind
from westofn.sources.reading import Row

_SCORES = ("score_chosen", "score_rejected")
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


class Conversations(Format):
    """Rows whose chosen and rejected columns are lists of messages.

    Args:
        label_source: value of the column `label_source` for the pairs.
    """

    name = "conversations"
    columns = (("chosen",), ("rejected",))
    drops = (SIDES_DIFFER, EQUAL_SCORES)

    def __init__(self, label_source: str = "human") -> None:
        self.label_source = label_source

    def fits(self, row: Mapping[str, object]) -> bool:
        """Return whether chosen and rejected are lists."""
        return isinstance(row["chosen"], list) and isinstance(row["rejected"], list)

    def outcomes(self, rows: Iterable[Row], seed: int) -> Iterator[Outcome]:
        """Yield one outcome per row."""
        for row in rows:
            for side in ("chosen", "rejected"):
                column(row, (side,), "chosen, rejected as lists of messages")
            subset = subset_of(row)
            yield Outcome(row, subset, _pair(row, subset))


def _pair(row: Row, subset: str) -> Pair | str:
    chosen, rejected = (messages(row.values[n], n, row.where) for n in ("chosen", "rejected"))
    if any(not side or side[-1].role != "assistant" for side in (chosen, rejected)):
        raise DataError(
            f"{row.where}: chosen and rejected end with roles "
            f"{', '.join(side[-1].role if side else 'none' for side in (chosen, rejected))}; need "
            f"the assistant's message at the end of both: mend or remove the row"
        )
    given_id = id_of(row)
    contexts = [_context(row, side[:-1]) for side in (chosen, rejected)]
    if contexts[0] != contexts[1]:
        return SIDES_DIFFER
    if all(name in row.values for name in _SCORES):
        best, worst = (number(row.values[name], name, row.where) for name in _SCORES)
        if best == worst:
            return EQUAL_SCORES
        if best < worst:
            raise DataError(
                f"{row.where}: score_chosen {best:g} is below score_rejected {worst:g}; needs the "
                f"better response as chosen: mend or remove the row"
            )
    prompt = to_text(contexts[0]) if any(m.content.strip() for m in contexts[0]) else ""
    return pair_or_reason(
        prompt, chosen[-1].content, rejected[-1].content, subset=subset, given_id=given_id
    )


def _context(row: Row, before: Sequence[Message]) -> list[Message]:
    """Return all messages before the response, from the prompt and from one of the two lists.

    A list that holds the whole dialogue begins with the prompt's messages.
    """
    prompt = row.values.get("prompt")
    if prompt is None:
        return list(before)
    if isinstance(prompt, str):
        prompt_content = text(prompt, "prompt", row.where)
        return list(before) or [Message("user", prompt_content)]
    prompt_messages = messages(prompt, "prompt", row.where)
    includes_prompt = list(before[: len(prompt_messages)]) == prompt_messages
    return list(before) if includes_prompt else [*prompt_messages, *before]


def messages(value: object, name: str, where: str) -> list[Message]:
    """Return a value as a list of messages.

    Raises:
        DataError: the value is not a list, or an entry is not a message with a known role.
    """
    return [_message(entry, name, where) for entry in listed(value, name, where)]


def _message(entry: object, name: str, where: str) -> Message:
    if not isinstance(entry, Mapping) or not {"role", "content"} <= set(entry):
        description = ", ".join(entry) if isinstance(entry, Mapping) else kind(entry)
        raise DataError(
            f"{where}: column {name} has an entry of {show(description)}, needs messages with role "
            f"and content: rename the keys"
        )
    role = entry["role"]
    if role not in _ROLES:
        raise DataError(
            f"{where}: column {name} has a message of role {show(role)}; supported: "
            f"{', '.join(_ROLES)}: mend or remove the row"
        )
    return Message(_ROLES[role], text(entry["content"], f"{name}.content", where))
