"""Rewrite the rows of sets that no mapping of columns can read.

Each function takes the raw rows of one file and yields rows whose columns a mapping reads. A row
keeps the location of the raw row from which it was made; one that cannot be rewritten is yielded
with its fault.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from itertools import combinations

from westofn.artifacts.table import show
from westofn.errors import DataError
from westofn.sources.formats.labels import normal_label
from westofn.sources.formats.rows import listed, text
from westofn.sources.json_lines import kind
from westofn.sources.reading import Row

Node = Mapping[str, object]
"""A message of a tree: text, role, rank, lang, and replies or ids."""

_ROLES = {"prompter": "user", "assistant": "assistant"}
_WINNERS = {"winner_model_a": "a", "winner_model_b": "b", "winner_tie": "tie"}
_TRUE = ("1", "true")
_COMPARED = tuple(combinations(range(1, 5), 2))


def _row_by_row(
    rewrite: Callable[[Row], Iterator[Row]],
) -> Callable[[Iterable[Row]], Iterator[Row]]:
    """Turn a function that rewrites one row into one for all rows; errors become faults of rows."""

    @wraps(rewrite)
    def expand(rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            try:
                made = [row] if row.fault else list(rewrite(row))
            except DataError as error:
                made = [row._replace(fault=error)]
            yield from made

    return expand


def ranked_replies_of_messages(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the ranked replies to each prompt of OASST's table with one message a row.

    A prompt whose earlier messages are missing is left out. All messages are held in memory.

    Yields:
        Rows of prompt (messages), responses, ranks (0 is the best) and lang.
    """
    replies: defaultdict[str, list[Node]] = defaultdict(list)
    roots: list[Row] = []
    seen: set[object] = set()
    for row in rows:
        parent = row.values.get("parent_id")
        if row.fault:
            yield row
        elif fault := _fault_of_ids(row, seen):
            yield row._replace(fault=fault)
        elif parent in (None, ""):
            roots.append(row)
        else:
            replies[str(parent)].append(row.values)

    @_row_by_row
    def of_root(root: Row) -> Iterator[Row]:
        return _ranked_replies(
            root.where,
            root.values,
            # `pop`, so that a message that is its own ancestor is visited once
            lambda node: replies.pop(str(node.get("message_id")), []),
        )

    yield from of_root(roots)


def _fault_of_ids(row: Row, seen: set[object]) -> DataError | None:
    """Return why a message has no place in a tree, and remember its id in `seen`."""
    for name in ("message_id", "parent_id"):
        value = row.values.get(name)
        if not isinstance(value, str | int | None):
            return DataError(
                f"{row.where}: column {name} is a {kind(value)} ({show(value)}), needs text: mend "
                f"or remove the message"
            )
    own = row.values.get("message_id")
    if own in seen:
        return DataError(
            f"{row.where}: message_id {show(own)} is there twice; needs one message an id: remove "
            f"the other"
        )
    if own is not None:
        seen.add(own)
    return None


@_row_by_row
def ranked_replies_of_trees(row: Row) -> Iterator[Row]:
    """Yield the ranked replies to each prompt of OASST's files with one tree a row.

    Yields:
        Rows of prompt (messages), responses, ranks (0 is the best) and lang.
    """

    def replies_of(node: Node) -> list[Node]:
        replies = listed(node.get("replies") or [], "replies", row.where)
        return [_object(reply, "replies", row.where) for reply in replies]

    root = _object(row.values.get("prompt"), "prompt", row.where)
    return _ranked_replies(row.where, root, replies_of)


def _ranked_replies(
    where: str, root: Node, replies_of: Callable[[Node], list[Node]]
) -> Iterator[Row]:
    open_nodes = [(root, [_turn(root, where)])]
    while open_nodes:
        node, turns = open_nodes.pop()
        replies = [reply for reply in replies_of(node) if not reply.get("deleted")]
        ranked = [reply for reply in replies if reply.get("rank") is not None]
        if node.get("role") == "prompter" and len(ranked) > 1:
            values = {
                "prompt": turns,
                "responses": [reply.get("text") for reply in ranked],
                "ranks": [reply["rank"] for reply in ranked],
                "lang": node.get("lang"),
            }
            yield Row(where, values)
        open_nodes += [(reply, [*turns, _turn(reply, where)]) for reply in replies]


def _turn(node: Node, where: str) -> dict[str, object]:
    role = node.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise DataError(
            f"{where}: column role is {show(role)}, needs {' or '.join(_ROLES)}: mend or remove "
            f"the message"
        )
    return {"role": _ROLES[role], "content": node.get("text")}


@_row_by_row
def arena_turns(row: Row) -> Iterator[Row]:
    """Yield the two conversations of rows whose turns are in lists (LMSYS arena 55k).

    Yields:
        Rows of conversation_a, conversation_b (messages) and winner: a, b or tie.
    """
    where, values, _ = row
    prompts = listed(values.get("prompt"), "prompt", where)
    sides: dict[str, object] = {}
    for side in ("a", "b"):
        name = f"response_{side}"
        responses = listed(values.get(name), name, where)
        if len(responses) != len(prompts):
            raise DataError(
                f"{where}: {len(prompts)} entries in prompt and {len(responses)} in {name}; "
                f"needs equal numbers: mend or remove the row"
            )
        sides[f"conversation_{side}"] = [
            {"role": role, "content": "" if content is None else content}
            for turns in zip(prompts, responses, strict=True)
            for role, content in zip(("user", "assistant"), turns, strict=True)
        ]
    winners = [
        winner for name, winner in _WINNERS.items() if normal_label(values.get(name)) in _TRUE
    ]
    if len(winners) != 1:
        raise DataError(
            f"{where}: {len(winners)} of {', '.join(_WINNERS)} are 1, needs one: mend or remove "
            f"the row"
        )
    yield Row(where, {**sides, "winner": winners[0]})


@_row_by_row
def with_rejected_dialogue(row: Row) -> Iterator[Row]:
    """Yield rows whose rejected response follows the same turns as the last of `messages`.

    Yields:
        Rows with two dialogues: messages and rejected_response (messages).
    """
    messages = listed(row.values.get("messages"), "messages", row.where)
    last = messages[-1] if messages else None
    role = last.get("role") if isinstance(last, Mapping) else None
    if not isinstance(last, Mapping) or role != "assistant":
        raise DataError(
            f"{row.where}: column messages ends with role {show(role)}, needs the assistant's "
            f"message, which is the better response: mend or remove the row"
        )
    response = text(row.values.get("rejected_response"), "rejected_response", row.where)
    rejected = {"role": role, "content": response}
    yield row._replace(values={**row.values, "rejected_response": [*messages[:-1], rejected]})


@_row_by_row
def compared_predictions(row: Row) -> Iterator[Row]:
    """Yield the six comparisons of the four predictions of a row (Fine-Grained RLHF).

    `preference` has one entry for each of 1 and 2, 1 and 3, 1 and 4, 2 and 3, 2 and 4, 3 and 4: 1
    or 2 is the better one of the two, 0 means no preference. The passages, lists of a title and
    sentences, become the context.

    Yields:
        Rows of question, context, response_a, response_b, label.
    """
    where, values, _ = row
    labels = listed(values.get("preference"), "preference", where)
    if len(labels) != len(_COMPARED):
        raise DataError(
            f"{where}: column preference has {len(labels)} entries, needs {len(_COMPARED)}: mend "
            f"or remove the row"
        )
    passages = [
        [str(part) for part in listed(passage, "passages", where)]
        for passage in listed(values.get("passages") or [], "passages", where)
    ]
    context = "\n\n".join("\n".join((p[0], " ".join(p[1:]))) for p in passages if p)
    for (first, second), label in zip(_COMPARED, labels, strict=True):
        yield Row(
            where,
            {
                "question": values.get("question"),
                "context": context,
                "response_a": values.get(f"prediction {first}"),
                "response_b": values.get(f"prediction {second}"),
                "label": label,
            },
        )


def _object(value: object, name: str, where: str) -> Node:
    if not isinstance(value, Mapping):
        raise DataError(
            f"{where}: column {name} is a {kind(value)} ({show(value)}), needs an object: mend or "
            f"remove the row"
        )
    return value
