"""Demonstrations and unlabeled prompts from files other than the preferences.

They are grouped with the prompts of the pairs. Dropped and counted are demonstrations of prompts
that are held out for test or autorater, unlabeled prompts that are held out, and unlabeled prompts
that have a pair (in D_U the prompt would remove its pair from HF50). Demonstrations and unlabeled
prompts can share prompts, because D_U has no labels and the validation demonstrations only measure
the policy's likelihood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.sft import SFT
from westofn.errors import DataError
from westofn.sources.formats.demonstrations import Demonstration
from westofn.sources.splits import (
    PromptGroups,
    SplitFractions,
    draw_split,
    prompt_id,
    stable_id,
)

_SFT_DROPS = ("empty", "undesired", "duplicate", "held_out")
_PROMPT_DROPS = ("empty", "duplicate", "held_out", "in_preferences")


@dataclass(frozen=True)
class Extras:
    """Demonstrations and unlabeled prompts from other files.

    Attributes:
        demonstrations: demonstrations; None: use the chosen responses.
        unlabeled: prompts to add to D_U.
        half: whether D_U also contains the prompts of half of the train groups.
    """

    demonstrations: Sequence[Demonstration] | None = None
    unlabeled: Sequence[str] = ()
    half: bool = True

    def texts(self) -> set[str]:
        """Return all prompts that are not blank."""
        demonstrated = (example.prompt for example in self.demonstrations or ())
        return {text for text in (*demonstrated, *self.unlabeled) if text.strip()}


@dataclass(frozen=True)
class Unlabeled:
    """Prompts for D_U from other files, with row counts."""

    frame: pl.DataFrame
    counts: dict[str, int]


def unlabeled_prompts(
    extras: Extras, preferences: pl.DataFrame, groups: PromptGroups, split_of: Mapping[str, str]
) -> Unlabeled:
    """Keep the prompts that have no pair and no held-out near duplicate.

    Args:
        extras: demonstrations and unlabeled prompts.
        preferences: a frame of table preferences.
        groups: groups of all prompts.
        split_of: group with pairs -> split.
    """
    if not extras.unlabeled:
        return Unlabeled(PROMPTS.empty(), {})
    labelled = set(preferences["prompt_id"])
    dropped: Counter[str] = Counter()
    kept: dict[str, str] = {}
    for text in sorted(extras.unlabeled):
        name = prompt_id(text)
        if not text.strip():
            dropped["empty"] += 1
        elif name in labelled:
            dropped["in_preferences"] += 1
        elif split_of.get(groups.group_of[name], "train") != "train":
            dropped["held_out"] += 1
        elif name in kept:
            dropped["duplicate"] += 1
        else:
            kept[name] = text
    counts = _account("unlabeled", len(extras.unlabeled), len(kept), dropped, _PROMPT_DROPS)
    frame = PROMPTS.frame(
        {
            "prompt_id": list(kept),
            "prompt": list(kept.values()),
            "split": ["unlabeled"] * len(kept),
        }
    )
    return Unlabeled(frame, counts)


@dataclass(frozen=True)
class DemonstrationRows:
    """Demonstrations from other files, with row counts."""

    frame: pl.DataFrame
    counts: dict[str, int]


def demonstrations_frame(
    demonstrations: Sequence[Demonstration],
    groups: PromptGroups,
    split_of: Mapping[str, str],
    fractions: SplitFractions,
    seed: int,
    where: Path | str,
) -> DemonstrationRows:
    """Assign each demonstration to the split of its group, and drop held-out demonstrations.

    Args:
        demonstrations: demonstrations, including blank and duplicate ones.
        groups: groups of all prompts.
        split_of: group with pairs -> split. A group without pairs is assigned to train or
            validation by its hash.
        fractions: shares of the splits among the groups.
        seed: seed of the splits.
        where: name of the data in error messages.

    Raises:
        DataError: no demonstration is left for train or validation.
    """
    dropped: Counter[str] = Counter()
    rows: dict[str, tuple[str, str, str, str]] = {}
    for example in sorted(demonstrations, key=lambda item: (item.prompt, item.response)):
        if not example.prompt.strip() or not example.response.strip():
            dropped["empty"] += 1
            continue
        if not example.is_desired:
            dropped["undesired"] += 1
            continue
        name = prompt_id(example.prompt)
        group = groups.group_of[name]
        split = split_of.get(group)
        if split is None:
            drawn = draw_split(group, fractions, seed)
            split = "validation" if drawn == "validation" else "train"
        sft_id = stable_id("s", name, example.response)
        if split not in ("train", "validation"):
            dropped["held_out"] += 1
        elif sft_id in rows:
            dropped["duplicate"] += 1
        else:
            rows[sft_id] = (name, example.prompt, example.response, split)
    counts = _account("sft", len(demonstrations), len(rows), dropped, _SFT_DROPS)
    for split in ("train", "validation"):
        if split not in {row[3] for row in rows.values()}:
            prompts = {row[0] for row in rows.values()}
            raise DataError(
                f"{where}: none of {len(demonstrations)} demonstrations is in split {split}: "
                f"{len(rows)} rows of {len(prompts)} prompts are left (dropped: {dict(dropped)}), "
                f"and all rows of a prompt are in one split; needs at least 1: give "
                f"demonstrations of more prompts in prepare.sft_path, or change "
                f"prepare.files.validation_fraction"
            )
    columns = ("prompt_id", "prompt", "response", "split")
    values = zip(*rows.values(), strict=True)
    named_columns = dict(zip(columns, map(list, values), strict=True))
    return DemonstrationRows(SFT.frame({"sft_id": list(rows), **named_columns}), counts)


def _account(
    what: str, rows_in: int, rows_out: int, dropped: Mapping[str, int], reasons: Sequence[str]
) -> dict[str, int]:
    assert rows_in == rows_out + sum(dropped.values())
    return {
        f"{what}_rows_in": rows_in,
        f"{what}_rows_out": rows_out,
        **{f"{what}_dropped_{reason}": dropped.get(reason, 0) for reason in reasons},
    }
