"""Changes of valid inputs: of values (types, names, order) and of bytes (bits, cuts, repeats)."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

TEXT = "The penguin swims well."
NESTED: list[object] = ["x"]
for _ in range(300):
    NESTED = [NESTED]
JUNK: list[object] = [
    *(None, 0, -1, 2, 2**63, True, False, 1.5, -0.0, 1e300, 10**400, "", " ", "A", "tie", "[[A]]"),
    *("nan", "1e999", "1/0", "none", "a/b", "..", "x" * 5000, "two\nlines", "\x1b[2J", "\u2028"),
    *("[", "[[", "{}", '[["a"]]', '[{"role": "user"}]', "['a']", "[" * 3000, "\ud800", "\u200b"),
    *("\n\nHuman:", "\n\nHuman: a\n\nAssistant:", "Human: a\n\nAssistant: b", "\x00", TEXT),
    *(float("nan"), float("inf"), [], {}, [[]], [{}], [None], [1, 2], ["a", "b"], [["a", "b"]]),
    *([["a"]], {"": 1}, NESTED, {"messages": None}, {"messages": []}, {"text": "x", "score": 1}),
    *([{"from": "human"}], [{"role": "user", "content": [None]}], [TEXT] * 300),
    *([{"role": role, "content": "x"}] for role in (None, 3, "system", "tool", "user")),
    {"role": "user", "content": [{"type": "text"}]},
]
"""Values that may stand where another one is needed."""
PIECES = [
    *(b"", b"\xff", b"\x00", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n", b"\n\n", b'"', b"\\"),
    *(b"{", b"}", b"[", b"]", b",", b":", b"- ", b"#", b"&a *a", b"!!python/name:os ", b"'", b"="),
    *(b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"9" * 5000, b"0x1F", b"1_0", b"null", b"true"),
    *(b"[" * 100_000, b'{"a":' * 100_000, b'{"a": 1, "a": 2}', b"\t", b"<<: ", b"2001-01-01", b"~"),
]
"""Bytes that are put into a text."""


def damaged(value: object, rng: random.Random, names: Sequence[str] = ()) -> object:
    """Delete, add, rename, swap or replace something at a random place of a value.

    Args:
        value: What JSON can hold.
        rng: Source of the choices.
        names: Names that a new key may have, beside those that are there.
    """
    if not value or not isinstance(value, dict | list) or rng.random() < 0.1:
        return _other(value, rng)
    damage = rng.choice(["delete", "add", "swap", "as text", "within", "within", "within"])
    if isinstance(value, list):
        entries, place = list(value), rng.randrange(len(value))
        if damage == "delete":
            del entries[place]
        elif damage == "add":
            entries.insert(place, rng.choice([*JUNK, entries[place]]))
        elif damage == "swap":
            other = rng.randrange(len(entries))
            entries[place], entries[other] = entries[other], entries[place]
        else:
            entries[place] = damaged(entries[place], rng, names)
        return entries
    columns, name = dict(value), rng.choice(list(value))
    if damage == "delete":
        del columns[name]
    elif damage == "add":
        columns[rng.choice([*names, "", "a.b", f"{name}s"])] = rng.choice([columns[name], *JUNK])
    elif damage == "swap":
        other = rng.choice(list(columns))
        columns[name], columns[other] = columns[other], columns[name]
    elif damage == "as text":
        columns[name] = str(columns[name]) if rng.random() < 0.5 else json.dumps(columns[name])
    else:
        columns[name] = damaged(columns[name], rng, names)
    return columns


def _other(value: object, rng: random.Random) -> object:
    """Another value; of a number often a near or a far one."""
    if isinstance(value, int | float) and rng.random() < 0.5:
        return rng.choice([-value, value + 1, value * 10, value // 3, str(value), [value]])
    return rng.choice(JUNK)


def corrupted(content: bytes, rng: random.Random, changes: int = 3) -> bytes:
    """Flip bits, cut, repeat, exchange or insert bytes at up to `changes` places."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, changes)):
        place = rng.randint(0, len(changed))
        length = min(rng.choice([1, 1, 2, 4, 16, 256]), len(changed) - place)
        damage = rng.choice(["bit", "bit", "byte", "cut", "remove", "repeat", "insert", "move"])
        if damage in ("bit", "byte") and length:
            mask = 1 << rng.randrange(8) if damage == "bit" else rng.randrange(1, 256)
            changed[place] ^= mask
        elif damage == "cut" and rng.random() < 0.3:
            del changed[place:]
        elif damage == "remove":
            del changed[place : place + length]
        elif damage == "repeat":
            changed[place:place] = changed[place : place + length]
        elif damage == "insert":
            changed[place:place] = rng.choice(PIECES)
        elif damage == "move":
            piece = changed[place : place + length]
            other = rng.randint(0, len(changed))
            changed[other:other] = piece
    return bytes(changed)


def as_json(value: object) -> bytes:
    """The JSON of a value, also of one with halves of surrogate pairs."""
    return json.dumps(value).encode()


def as_lines(rows: object) -> bytes:
    """A row of JSON a line; anything else than a list is one line."""
    listed = rows if isinstance(rows, list) else [rows]
    return b"".join(as_json(row) + b"\n" for row in listed)
