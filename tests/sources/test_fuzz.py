"""Rows that are damaged at random are read, dropped or refused, and nothing else."""

from __future__ import annotations

import contextlib
import io
import json
import random
from typing import Any, Literal

import pytest

from tests.sources.known_rows import OTHER_FORMS, SAMPLES, rows_of_sample
from westofn.errors import DataError
from westofn.sources.collect import Part, Reading, collect_pairs
from westofn.sources.formats.demonstrations import demonstration, prompt_of
from westofn.sources.json_lines import json_rows
from westofn.sources.reading import Row
from westofn.sources.suggesting import suggest

CASES = 1_500
TEXT = "The penguin swims well."
FORMS: list[list[dict[str, Any]]] = [
    *(rows_of_sample(sample) for sample in SAMPLES.values()),
    *(rows_of_sample(sample) for _, sample in OTHER_FORMS.values()),
    [{"Prompt": "Which?", "Response A": "a b", "Response B": TEXT, "Winner": "B"}],
    [{"chosen": f"\n\nHuman: a\n\nAssistant: {n}", "rejected": TEXT} for n in range(2)],
    [{"prompt": "Which?", "chosen": {"text": "a", "score": 2}, "rejected": {"text": "b"}}],
    [{"prompt": "Which?", "responses": ["a", "b"], "scores": [1, 2], "system": "s"}],
]
NAMES = sorted(
    {name for rows in FORMS for row in rows for name in row}
    | {"system", "history", "context", "tools", "images", "messages", "id", "", " ", "a.*", "*"}
)
NESTED: list[object] = ["x"]
for _ in range(300):
    NESTED = [NESTED]
JUNK: list[object] = [
    *(None, 0, -1, True, False, 1.5, 10**400, "", " ", "A", "tie", "[[A]]", "nan", "1e999", "1/0"),
    *("[", "[[", "{}", '[["a"]]', '[{"role": "user"}]', "['a']", "[" * 3000, "\ud800", "\u200b"),
    *("\n\nHuman:", "\n\nHuman: a\n\nAssistant:", "Human: a\n\nAssistant: b", "\x00", TEXT),
    *([], {}, [[]], [{}], [None], [1, 2], ["a", "b"], [["a", "b"]], [["a"]], {"": 1}, NESTED),
    *({"messages": None}, {"messages": []}, {"text": "x", "score": 1}, [{"from": "human"}]),
    *([{"role": role, "content": "x"}] for role in (None, 3, "system", "tool", "user")),
    [{"role": "user", "content": [None]}],
    {"role": "user", "content": [{"type": "text"}]},
]


def damaged(value: object, rng: random.Random) -> object:
    """Delete, rename, swap or replace something at a random place of a value."""
    if not value or not isinstance(value, dict | list) or rng.random() < 0.2:
        return rng.choice(JUNK)
    damage = rng.choice(["delete", "add", "swap", "as text", "within", "within"])
    if isinstance(value, list):
        entries, place = list(value), rng.randrange(len(value))
        if damage == "delete":
            del entries[place]
        elif damage == "add":
            entries.insert(place, rng.choice(JUNK))
        else:
            entries[place] = damaged(entries[place], rng)
        return entries
    columns, name = dict(value), rng.choice(list(value))
    if damage == "delete":
        del columns[name]
    elif damage == "add":
        columns[rng.choice(NAMES)] = rng.choice([columns[name], *JUNK])
    elif damage == "swap":
        other = rng.choice(list(columns))
        columns[name], columns[other] = columns[other], columns[name]
    elif damage == "as text":
        columns[name] = str(columns[name]) if rng.random() < 0.5 else json.dumps(columns[name])
    else:
        columns[name] = damaged(columns[name], rng)
    return columns


@pytest.mark.parametrize("bad_rows", ["refuse", "drop"])
def test_damaged_rows_raise_nothing_but_errors_of_data(
    bad_rows: Literal["refuse", "drop"],
) -> None:
    rng = random.Random(7)
    messages = []
    for _ in range(CASES):
        rows: list[object] = list(rng.choice(FORMS))
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(rows))
            rows[place] = damaged(rows[place], rng)
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        lines = json_rows(io.BytesIO(content), "x.jsonl", keep_faulty=bad_rows == "drop")
        parts = [Part("", (Row(line.where, line.values, line.fault) for line in lines))]
        try:
            collect_pairs(parts, Reading(bad_rows=bad_rows, bad_rows_limit=1.0), "x.jsonl")
        except DataError as error:
            messages.append(str(error))
    assert CASES / 4 < CASES - len(messages) < CASES
    assert not any("\n" in message for message in messages)


def test_damaged_rows_can_be_inspected() -> None:
    rng = random.Random(8)
    for _ in range(CASES):
        row = damaged(rng.choice(rng.choice(FORMS)), rng)
        if isinstance(row, dict):
            suggest([row])
            for read in (demonstration, prompt_of):
                with contextlib.suppress(DataError):
                    read(Row("x.jsonl:1", row))
