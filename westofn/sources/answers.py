"""Answers to the questions of `export questions`: human labels for the policy's own responses.

An answered pair becomes a human pair of split train. Its prompt must belong to a train pair or to
D_U. Answers to other prompts are dropped and counted, so that no held-out prompt, or a near
duplicate of it, enters training.
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
from westofn.sources.formats.rows import (
    EMPTY_PROMPT,
    EMPTY_RESPONSE,
    IDENTICAL,
    Pair,
    column,
    pair_or_reason,
    text,
)
from westofn.sources.reading import Row
from westofn.sources.splits import PromptNames, stable_id

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
_REASONS = (
    _TIE,
    _SKIP,
    EMPTY_PROMPT,
    EMPTY_RESPONSE,
    IDENTICAL,
    _HELD_OUT,
    _UNKNOWN,
    _DUPLICATE,
)


@dataclass(frozen=True)
class _Prompt:
    """A prompt of the data: its id, its text and its split."""

    prompt_id: str
    prompt: str
    split: str


def add_answers(data: SourceData, path: Path) -> SourceData:
    """Add the answered pairs of a file, or of a folder of files, to the human pairs.

    Ties, skipped questions, blank or identical responses and duplicates are dropped and counted.
    Contradictory answers of two people become two pairs. Prompts are matched by their text, or else
    by case-folded text if only one prompt has it.

    Args:
        data: Data of a source, without answers.
        path: File or folder of JSON lines with question_id, prompt, response_a, response_b, label.

    Returns:
        The data with additional rows in `preferences` (split train, source `answers`, label_source
        human). Demonstrations and prompts are unchanged, so the policy is unchanged.

    Raises:
        DataError: A row cannot be read or has an unknown label, or no usable answer is left.
    """
    known = _known_prompts(data)
    names = PromptNames((prompt.prompt_id, prompt.prompt) for prompt in known.values())
    dropped: Counter[str] = Counter()
    kept: dict[str, tuple[_Prompt, Pair]] = {}
    rows_in = 0
    for row in (row for part in parts_of(path, 0, _KEY) for row in part.rows):
        rows_in += 1
        result = _pair(row)
        if isinstance(result, str):
            dropped[result] += 1
            continue
        prompt = known.get(names.find(result.prompt) or "")
        if prompt is None or prompt.split != "train":
            dropped[_UNKNOWN if prompt is None else _HELD_OUT] += 1
            continue
        name = stable_id("a", prompt.prompt_id, result.chosen, result.rejected)
        dropped[_DUPLICATE] += name in kept
        kept.setdefault(name, (prompt, result))
    assert rows_in == len(kept) + sum(dropped.values())
    if not kept:
        drop_counts = ", ".join(f"{reason} {count}" for reason, count in dropped.items() if count)
        raise DataError(
            f"{path}: no usable answer in {rows_in} rows ({drop_counts}); needs an answer a or b "
            f"to a prompt of split train or D_U: label more, or set prepare.answers to none"
        )
    preferences = pl.concat([data.preferences, _frame(kept)])
    counts = {**data.counts, "answers_rows_in": rows_in, "answers_rows_out": len(kept)}
    counts |= {f"answers_{reason}": dropped[reason] for reason in _REASONS}
    extended = replace(data, preferences=preferences)
    if "pairs_train" in counts:  # the embedded world has no such count
        counts["pairs_train"] += len(kept)
        counts["pairs_hf50"] = extended.hf50().height
    answered = SourceData.validated(
        sft=data.sft,
        preferences=preferences,
        prompts=data.prompts,
        world=data.world,
        counts=counts,
        where=path,
    )
    return replace(answered, unread=data.unread, warnings=data.warnings, groups=data.groups)


def _known_prompts(data: SourceData) -> Mapping[str, _Prompt]:
    """prompt_id -> prompt, for the prompts of all pairs and of D_U, which counts as train."""
    frames: Iterable[pl.DataFrame] = (data.preferences, data.prompts)
    columns = ("prompt_id", "prompt", pl.col("split").replace("unlabeled", "train"))
    rows = pl.concat([frame.select(columns) for frame in frames]).unique().sort("prompt")
    known: dict[str, _Prompt] = {}
    for name, prompt, split in rows.iter_rows():
        known.setdefault(name, _Prompt(name, prompt, split))
    return known


def _pair(row: Row) -> Pair | str:
    """Return the pair in a row, or the reason to drop the row."""
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
    prompts = [prompt for prompt, _ in kept.values()]
    pairs = [pair for _, pair in kept.values()]
    return PREFERENCES.frame(
        {
            "pair_id": list(kept),
            "prompt_id": [prompt.prompt_id for prompt in prompts],
            "prompt": [prompt.prompt for prompt in prompts],
            "chosen": [pair.chosen for pair in pairs],
            "rejected": [pair.rejected for pair in pairs],
            "split": ["train"] * len(kept),
            "source": [ANSWERS] * len(kept),
            "label_source": ["human"] * len(kept),
            "p_chosen": [None] * len(kept),
        }
    )
