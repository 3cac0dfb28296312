"""Time and peak memory of `prepare` on a million pairs, and of the stages on a million pools.

    python -m benchmarks.scale --pairs 1000000
    python -m benchmarks.scale --recall 100000
    python -m benchmarks.scale --prompts 1000000 --candidates 8

Rows are drawn from a seed. Every step is a process of its own, on one thread. The first command
runs the stage itself; the second compares the search for near duplicates by MinHash with the exact
one; the third does the steps of `benchmarks.speed.memory`. The first two need the extra `large`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from ruamel.yaml import YAML

from benchmarks.speed import memory
from benchmarks.speed.tables import make_shards, make_tables
from westofn.sources.near_duplicates import EXACT_TEXTS, DisjointSets, join_near_duplicates

WORDS = 50_000
PROMPT_WORDS, RESPONSE_WORDS = (12, 48), (5, 35)
NEAR, REPEATED = 0.05, 0.1
"""Shares of the prompts that are a near copy of an earlier one, or have another pair."""
COPIES = 0.3
"""Share of the texts that have a near copy, to measure recall."""
JACCARD = 0.8
AT_ONCE = 10_000
PROMPTS_A_SHARD = 1024
STEPS = ("nothing", "sample", "won_select", "filter")
ROOT = Path(__file__).parents[1]

Text = list[str]
"""The words of a text."""


def write_pairs(path: Path, pairs: int, seed: int = 0) -> None:
    """Write preference pairs as JSON lines, about 400 bytes each."""
    draw = np.random.default_rng(seed)
    recent: list[Text] = []
    with path.open("w", encoding="utf-8") as handle:
        for start in range(0, pairs, AT_ONCE):
            count = min(AT_ONCE, pairs - start)
            prompts = _texts(draw, count, PROMPT_WORDS)
            sides = _texts(draw, 2 * count, RESPONSE_WORDS)
            kinds = draw.random(count)
            for place in range(count):
                if recent and kinds[place] < NEAR + REPEATED:
                    words = recent[int(draw.integers(len(recent)))]
                    prompts[place] = _edited(words, draw) if kinds[place] < NEAR else words
                texts = (prompts[place], sides[2 * place], sides[2 * place + 1])
                row = dict(zip(("prompt", "chosen", "rejected"), map(" ".join, texts), strict=True))
                handle.write(json.dumps(row) + "\n")
            recent = prompts


def near_copies(count: int, seed: int = 0) -> list[str]:
    """Draw distinct texts of 12 to 120 words, and copies of some of them with one to three edits.

    A text has one copy at most, so that no chain of copies is cut in one search or the other.
    """
    draw = np.random.default_rng(seed)
    texts: list[Text] = []
    for words in _texts(draw, count, (12, 120)):
        texts.append(words)
        if draw.random() < COPIES:
            texts.append(_edited(words, draw, 3))
    return list(dict.fromkeys(map(" ".join, texts)))


def _texts(draw: np.random.Generator, count: int, length: tuple[int, int]) -> list[Text]:
    """Draw texts by the law of Zipf and Mandelbrot."""
    sizes = draw.integers(*length, count)
    shares = np.cumsum(1 / (np.arange(WORDS) + 2.7))
    ranks = np.searchsorted(shares, draw.random(int(sizes.sum())) * shares[-1])
    words: NDArray[np.str_] = _vocabulary()[ranks]
    ends = np.cumsum(sizes)
    return [words[end - size : end].tolist() for size, end in zip(sizes, ends, strict=True)]


def _edited(words: Text, draw: np.random.Generator, most: int = 1) -> Text:
    """Change a text in one to `most` places: another word, one less, or words at the end."""
    copy = list(words)
    for _ in range(int(draw.integers(1, most + 1))):
        place, kind = int(draw.integers(len(copy))), draw.integers(3)
        if kind == 0:
            copy[place] = "another"
        elif kind == 1:
            del copy[place]
        else:
            copy += ["please", "answer", "briefly"]
    return copy


@cache
def _vocabulary() -> NDArray[np.str_]:
    letters = np.array(list("etaoinshrdlucmfywgpb"))
    columns = [letters[np.arange(WORDS) // 20**place % 20] for place in range(4)]
    return np.array(["".join(word) for word in zip(*columns, strict=True)])


def prepare(folder: Path, pairs: int) -> dict[str, Any]:
    """Run the stage on synthetic pairs in a folder; return its seconds and peak memory."""
    source = folder / "pairs.jsonl"
    write_pairs(source, pairs)
    yaml = YAML(typ="safe")
    params = yaml.load(ROOT / "params.yaml")
    params["prepare"] |= {"source": "files", "path": str(source)}
    yaml.dump(params, folder / "params.yaml")
    options = ("--out", "data/prepared", "--world", "data/world")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment["POLARS_MAX_THREADS"] = "1"
    command = [sys.executable, "-m", "stages.prepare", *options]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    facts = json.loads((folder / "runs/stages.jsonl").read_text("utf-8").splitlines()[-1])
    return {key: facts[key] for key in ("cpu_seconds", "peak_memory_mib")}


def recall(texts: Sequence[str]) -> dict[str, Any]:
    """Search near duplicates both ways; how many pairs of one group does MinHash put in one?"""
    exact, exact_seconds = _groups(texts, len(texts))
    ours, seconds = _groups(texts, 0)
    pairs = [(first, other) for first, *others in _sets(exact) for other in others]
    return {
        "texts": len(texts),
        "in groups": len(pairs),
        "recall": sum(ours[first] == ours[other] for first, other in pairs) / len(pairs),
        "wrong": sum(exact[first] != exact[o] for first, *others in _sets(ours) for o in others),
        "exact_seconds": exact_seconds,
        "seconds": seconds,
    }


def _groups(texts: Sequence[str], exact_texts: int) -> tuple[list[int], float]:
    """Return the group of each text, and the processor time of the search."""
    groups, start = DisjointSets(len(texts)), time.process_time()
    join_near_duplicates(texts, range(len(texts)), groups, JACCARD, exact_texts)
    seconds = time.process_time() - start
    return [groups.root(text) for text in range(len(texts))], round(seconds, 1)


def _sets(groups: Sequence[int]) -> list[list[int]]:
    """Return the members of each group of several texts."""
    members: dict[int, list[int]] = {}
    for text, group in enumerate(groups):
        members.setdefault(group, []).append(text)
    return [texts for texts in members.values() if len(texts) > 1]


def main(
    pairs: Annotated[int, typer.Option(help="rows of `prepare`; 0: it is left out")] = 0,
    recall_of: Annotated[int, typer.Option("--recall", max=EXACT_TEXTS, help="texts; 0: none")] = 0,
    prompts: Annotated[int, typer.Option(help="pools of the other stages; 0: none")] = 0,
    candidates: Annotated[int, typer.Option(help="N of a prompt")] = 8,
) -> None:
    """Print the figures of the steps."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        if pairs:
            print(prepare(folder, pairs))
        if recall_of:
            print(recall(near_copies(recall_of)))
        if prompts:
            make_tables(folder / "pools", prompts, candidates)
            make_shards(folder / "pools", PROMPTS_A_SHARD)
            memory.measure(folder / "pools", STEPS)


if __name__ == "__main__":
    typer.run(main)
