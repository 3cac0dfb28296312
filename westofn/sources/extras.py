"""Demonstrations and unlabeled prompts that do not come from the preferences.

They are grouped with the prompts of the pairs, and what would leak is dropped and counted: a
demonstration of a prompt that is held out for test or autorater, and an unlabeled prompt that is
held out, or that a pair has (it is labelled, so that its pair would count as not in HF50).
Demonstrations and unlabeled prompts may share prompts: D_U has no label that could leak, and the
validation rows of demonstrations measure the policy's likelihood alone.
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

_SFT_DROPS = ("empty", "duplicate", "held_out")
_PROMPT_DROPS = ("empty", "duplicate", "held_out", "in_preferences")


@dataclass(frozen=True)
class Extras:
    """What comes from elsewhere.

    Attributes:
        demonstrations: None: the chosen responses are the demonstrations.
        unlabeled: prompts for D_U.
        half: whether the prompts of half of the train pairs are in D_U.
    """

    demonstrations: Sequence[Demonstration] | None = None
    unlabeled: Sequence[str] = ()
    half: bool = True

    def texts(self) -> set[str]:
        """All prompts that are not blank."""
        taught = (one.prompt for one in self.demonstrations or ())
        return {text for text in (*taught, *self.unlabeled) if text.strip()}


@dataclass(frozen=True)
class Unlabeled:
    """Prompts of D_U from elsewhere, and what was dropped on the way."""

    frame: pl.DataFrame
    counts: dict[str, int]


def unlabeled_prompts(
    extras: Extras, preferences: pl.DataFrame, groups: PromptGroups, split_of: Mapping[str, str]
) -> Unlabeled:
    """Keep the prompts that no pair has and that are near none held out.

    Args:
        extras: see the class.
        preferences: a frame of table preferences.
        groups: of all prompts.
        split_of: split of every group that has pairs.
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
class Taught:
    """Demonstrations from elsewhere, and what was dropped on the way."""

    frame: pl.DataFrame
    counts: dict[str, int]


def demonstrations_frame(
    demonstrations: Sequence[Demonstration],
    groups: PromptGroups,
    split_of: Mapping[str, str],
    fractions: SplitFractions,
    seed: int,
    where: Path | str,
) -> Taught:
    """Give each demonstration the split of its group, and drop those that are held out.

    Args:
        demonstrations: with blank and double ones.
        groups: of all prompts.
        split_of: split of every group that has pairs; another is train or validation by its hash,
            with all of its demonstrations, whether or not D_U has its prompts.
        fractions: shares of the groups.
        seed: decides the splits.
        where: what a message calls the data.

    Raises:
        DataError: no demonstration is left for train or validation.
    """
    dropped: Counter[str] = Counter()
    rows: dict[str, tuple[str, str, str, str]] = {}
    for one in sorted(demonstrations, key=lambda one: (one.prompt, one.response)):
        if not one.prompt.strip() or not one.response.strip():
            dropped["empty"] += 1
            continue
        name = prompt_id(one.prompt)
        group = groups.group_of[name]
        split = split_of.get(group)
        if split is None:
            drawn = draw_split(group, fractions, seed)
            split = "validation" if drawn == "validation" else "train"
        sft_id = stable_id("s", name, one.response)
        if split not in ("train", "validation"):
            dropped["held_out"] += 1
        elif sft_id in rows:
            dropped["duplicate"] += 1
        else:
            rows[sft_id] = (name, one.prompt, one.response, split)
    counts = _account("sft", len(demonstrations), len(rows), dropped, _SFT_DROPS)
    for split in ("train", "validation"):
        if split not in {row[3] for row in rows.values()}:
            prompts = {row[0] for row in rows.values()}
            raise DataError(
                f"{where}: none of {len(demonstrations)} demonstrations fell to {split}: "
                f"{len(rows)} rows of {len(prompts)} prompts are left (dropped: {dict(dropped)}), "
                f"and those of a prompt stay together; needs at least 1: give "
                f"demonstrations of more prompts in prepare.sft_path, or change "
                f"prepare.files.validation_fraction"
            )
    columns = ("prompt_id", "prompt", "response", "split")
    values = zip(*rows.values(), strict=True)
    named = dict(zip(columns, map(list, values), strict=True))
    return Taught(SFT.frame({"sft_id": list(rows), **named}), counts)


def _account(
    what: str, rows_in: int, rows_out: int, dropped: Mapping[str, int], reasons: Sequence[str]
) -> dict[str, int]:
    assert rows_in == rows_out + sum(dropped.values())
    return {
        f"{what}_rows_in": rows_in,
        f"{what}_rows_out": rows_out,
        **{f"{what}_dropped_{reason}": dropped.get(reason, 0) for reason in reasons},
    }
