"""Answers to the questions of `export questions`: human pairs of the policy's own responses.

An answered pair is a human pair of split train, whatever the source. Its prompt must be one that
trains already, of a train pair or of D_U: all others are dropped and counted, so that no answer
puts a held-out prompt, or one near it, into training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.table import show
from westofn.errors import DataError
from westofn.sources.collect import parts_of
from westofn.sources.data import ANSWERS, SourceData
from westofn.sources.formats.rows import ALWAYS, Pair, column, pair_or_reason, text
from westofn.sources.reading import Row
from westofn.sources.splits import normalise, stable_id

LABELS = ("a", "b", "tie", "skip")
COLUMNS = ("question_id", "prompt", "response_a", "response_b", "label")
_KEY = "prepare.answers_path"
_NEEDS = ", ".join(COLUMNS)
_TIE, _SKIP = "dropped_tie", "dropped_skip"
_HELD_OUT, _UNKNOWN, _DUPLICATE = (
    "dropped_held_out",
    "dropped_unknown_prompt",
    "dropped_duplicate",
)
_REASONS = (_TIE, _SKIP, *ALWAYS, _HELD_OUT, _UNKNOWN, _DUPLICATE)


@dataclass(frozen=True)
class _Prompt:
    """A prompt of the data: its name, its text there, and the split it belongs to."""

    prompt_id: str
    prompt: str
    split: str


def add_answers(data: SourceData, path: Path) -> SourceData:
    """Add the answered pairs of a file, or of a folder of files, to the human pairs.

    Ties, skipped questions, blank or identical responses and copies are dropped and counted. Two
    people who disagree are two pairs. A prompt is known by its normalised text.

    Args:
        data: Of a source, without answers.
        path: JSON lines with question_id, prompt, response_a, response_b and label.

    Returns:
        The data with more rows in `preferences`: split train, source `answers`, label_source human.
        Demonstrations and prompts stay what they are, and so does the policy.

    Raises:
        DataError: A row cannot be read or has another label, or no usable answer is left.
    """
    known = _known_prompts(data)
    dropped: Counter[str] = Counter()
    kept: dict[str, tuple[_Prompt, Pair]] = {}
    rows_in = 0
    for row in (row for part in parts_of(path, 0, _KEY) for row in part.rows):
        rows_in += 1
        result = _pair(row)
        if isinstance(result, str):
            dropped[result] += 1
            continue
        asked = known.get(normalise(result.prompt))
        if asked is None or asked.split != "train":
            dropped[_UNKNOWN if asked is None else _HELD_OUT] += 1
            continue
        name = stable_id("a", asked.prompt_id, result.chosen, result.rejected)
        dropped[_DUPLICATE] += name in kept
        kept.setdefault(name, (asked, result))
    assert rows_in == len(kept) + sum(dropped.values())
    if not kept:
        why = ", ".join(f"{reason} {count}" for reason, count in dropped.items() if count)
        raise DataError(
            f"{path}: no usable answer in {rows_in} rows ({why}); needs an answer a or b to a "
            f"prompt of split train or D_U: label more, or set prepare.answers to none"
        )
    preferences = pl.concat([data.preferences, _frame(kept)])
    counts = {**data.counts, "answers_rows_in": rows_in, "answers_rows_out": len(kept)}
    counts |= {f"answers_{reason}": dropped[reason] for reason in _REASONS}
    grown = replace(data, preferences=preferences)
    if "pairs_train" in counts:  # of human data; the world counts what it wrote
        counts["pairs_train"] += len(kept)
        counts["pairs_hf50"] = grown.hf50().height
    return SourceData.validated(
        sft=data.sft,
        preferences=preferences,
        prompts=data.prompts,
        world=data.world,
        counts=counts,
        where=path,
    )


def _known_prompts(data: SourceData) -> Mapping[str, _Prompt]:
    """Every prompt of pairs and prompts by its normalised text; D_U counts as train."""
    frames: Iterable[pl.DataFrame] = (data.preferences, data.prompts)
    columns = ("prompt_id", "prompt", pl.col("split").replace("unlabeled", "train"))
    rows = pl.concat([frame.select(columns) for frame in frames]).unique().sort("prompt")
    known: dict[str, _Prompt] = {}
    for name, prompt, split in rows.iter_rows():
        known.setdefault(normalise(prompt), _Prompt(name, prompt, split))
    return known


def _pair(row: Row) -> Pair | str:
    """The pair in a row, or the reason why there is none."""
    prompt, first, second, label = (
        text(row.values[column(row, (name,), _NEEDS)], name, row.where) for name in COLUMNS[1:]
    )
    if label not in LABELS:
        raise DataError(
            f"{row.where}: column label is {show(label)}, needs one of {', '.join(LABELS)}: mend "
            f"or remove the row"
        )
    if label in ("tie", "skip"):
        return _TIE if label == "tie" else _SKIP
    chosen, rejected = (first, second) if label == "a" else (second, first)
    return pair_or_reason(prompt, chosen, rejected)


def _frame(kept: Mapping[str, tuple[_Prompt, Pair]]) -> pl.DataFrame:
    asked = [prompt for prompt, _ in kept.values()]
    pairs = [pair for _, pair in kept.values()]
    return PREFERENCES.frame(
        {
            "pair_id": list(kept),
            "prompt_id": [prompt.prompt_id for prompt in asked],
            "prompt": [prompt.prompt for prompt in asked],
            "chosen": [pair.chosen for pair in pairs],
            "rejected": [pair.rejected for pair in pairs],
            "split": ["train"] * len(kept),
            "source": [ANSWERS] * len(kept),
            "label_source": ["human"] * len(kept),
            "p_chosen": [None] * len(kept),
        }
    )
