from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

from westofn.sources.collect import Part, Reading, collect_pairs
from westofn.sources.column_settings import parse_settings
from westofn.sources.known_page import END, START, known_sets_table
from westofn.sources.known_sets import KNOWN_SETS
from westofn.sources.reading import Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"


def test_the_table_of_the_page_is_current() -> None:
    text = PAGE.read_text("utf-8")
    table = text[text.index(START) + len(START) : text.index(END)].strip()
    assert table == known_sets_table(), "run `python -m westofn pages`"


def test_every_row_of_the_table_has_its_cells() -> None:
    head, rule, *rows = known_sets_table().splitlines()
    assert len(rows) == len(KNOWN_SETS) > 40
    for row in (head, rule, *rows):
        assert row.count("|") == head.count("|") == 7
        assert "\n" not in row


def test_the_mapping_of_the_page_reads_its_row() -> None:
    section = PAGE.read_text("utf-8").split("\n## Name the columns\n")[1].split("\n## ")[0]
    (row,) = re.findall(r"^```json\n(.*?)\n```", section, re.M | re.S)
    (command,) = re.findall(r"^```sh\n(.*?)\n```", section, re.M | re.S)
    arguments = shlex.split(command.replace("\\\n", " "))
    settings = [argument for option, argument in pairwise(arguments) if option == "-S"]
    columns, _ = parse_settings(settings)
    assert columns is not None
    assert columns.form == "labelled pairs"
    rows = [Row("x.jsonl:1", json.loads(row))]
    (pair,) = collect_pairs([Part("", iter(rows))], Reading(columns=columns), "x").pairs
    assert (pair.prompt, pair.chosen, pair.rejected) == (
        "Which bird swims?",
        "The penguin swims well.",
        "The robin swims well.",
    )
