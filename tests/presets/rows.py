"""Rows in the columns of the data sets that the presets are for, as they come from the hub."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

_WORDS = ("the cat", "a dog", "the sun", "red moon", "so long", "good", "bad", "blue")
_ASKED = [(f"{a} {i}{j}", a, b) for (i, a), (j, b) in product(enumerate(_WORDS), repeat=2)]
HH_SUBSETS = ("helpful-base", "helpful-online", "helpful-rejection-sampled", "harmless-base")


def write(rows: Sequence[Any], path: Path) -> None:
    """JSON Lines, gzipped where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def hh(folder: Path) -> None:
    """The subfolders of Anthropic/hh-rlhf; every second dialogue has two turns."""
    for offset, subset in enumerate(HH_SUBSETS):
        rows = []
        for index, (asked, a, b) in enumerate(_ASKED):
            text = f"\n\nHuman: {subset} {asked}\n\nAssistant:"
            if index % 2:
                text += f" {b}\n\nHuman: {b} {a}\n\nAssistant:"
            rows.append({"chosen": f"{text} good {a}", "rejected": f"{text} bad {b}"})
        write(rows[offset::2], folder / subset / "train.jsonl.gz")


def comparisons(folder: Path) -> None:
    """OpenAI's comparisons of summaries, with a row on a news article."""
    rows: list[dict[str, Any]] = []
    for index, (asked, a, b) in enumerate(_ASKED):
        texts = [f" good {a}", f" bad {b}"]
        rows.append(
            {
                "info": {"id": f"t3_{index}", "post": asked, "title": a, "subreddit": "pets"},
                "summaries": [
                    {"text": text, "policy": "sup1", "note": None}
                    for text in (texts[::-1] if index % 2 else texts)
                ],
                "choice": index % 2,
                "worker": "w",
                "batch": f"batch{index % 3}",
                "split": "train",
                "extra": {"confidence": 8 if index % 4 else None},
            }
        )
    news = {"id": "cnn", "article": "so long", "post": None, "title": None, "subreddit": None}
    write([*rows, rows[0] | {"info": news}], folder / "batch3.json")


def posts(path: Path) -> None:
    """Reddit posts with the summaries of their writers."""
    write(
        [
            {"id": f"t3_p{index}", "subreddit": "pets", "title": b, "post": f"so {asked}"}
            | {"summary": f"good {b}"}
            for index, (asked, _, b) in enumerate(_ASKED)
        ],
        path,
    )


def ultrafeedback(folder: Path) -> None:
    """Completions of four models with their scores."""
    rows = [
        {
            "source": "flan",
            "instruction": asked,
            "models": ["m0", "m1", "m2", "m3"],
            "completions": [
                {"model": f"m{rank}", "response": f"{word} {b}", "overall_score": 9.0 - rank}
                for rank, word in enumerate(("good", "so long", "red", "bad"))
            ],
        }
        for asked, _, b in _ASKED
    ]
    write(rows[:40], folder / "flan.jsonl")
    write(rows[40:], folder / "sharegpt.jsonl")


def conversations(path: Path) -> None:
    """Lists of messages, as TRL has them."""
    write(
        [
            {
                "prompt": [{"role": "user", "content": asked}],
                "chosen": [{"role": "assistant", "content": f"good {a}"}],
                "rejected": [{"role": "assistant", "content": f"bad {b}"}],
            }
            for asked, a, b in _ASKED
        ],
        path,
    )
