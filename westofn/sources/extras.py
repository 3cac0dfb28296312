"""Demonstrations and unlabeled prompts from files other than the preferences.

They are grouped with the prompts of the pairs. Dropped and counted are demonstrations of prompts
that are held out for test or autorater, unlabeled prompts that are held out, and unlabeled prompts
that have a pair (in D_U the prompt would remove its pair from HF50). Demonstrations can share
prompts with D_U and with train pairs, because the validation demonstrations only measure the
policy's likelihood, which no reward model learns from.
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
    hash_order,
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
    """Assign each demonstration to train or validation, and drop held-out demonstrations.

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
    rows: dict[str, _Row] = {}
    for example in sorted(demonstrations, key=lambda item: (item.prompt, item.response)):
        if not example.prompt.strip() or not example.response.strip():
            dropped["empty"] += 1
            continue
        if not example.is_desired:
            dropped["undesired"] += 1
            continue
        name = prompt_id(example.prompt)
        group = groups.group_of[name]
        split = split_of.get(group) or _drawn(group, fractions, seed)
        sft_id = stable_id("s", name, example.response)
        if split not in ("train", "validation"):
            dropped["held_out"] += 1
        elif sft_id in rows:
            dropped["duplicate"] += 1
        else:
            units = (group, groups.folded[name], name, sft_id)
            rows[sft_id] = _Row(name, example.prompt, example.response, units, split)
    held_out = _split_both_ways(list(rows.values()), split_of, fractions.validation, seed)
    counts = _account("sft", len(demonstrations), len(rows), dropped, _SFT_DROPS)
    counts["sft_validation_of_one_prompt"] = held_out
    for split in ("train", "validation"):
        if split not in {row.split for row in rows.values()}:
            prompts = {row.prompt_id for row in rows.values()}
            raise DataError(
                f"{where}: none of {len(demonstrations)} demonstrations is in split {split}: "
                f"{len(rows)} rows of {len(prompts)} prompts are left (dropped: {dict(dropped)}); "
                f"needs at least 2 different ones that do not all belong to validation pairs: "
                f"give more demonstrations in prepare.sft_path"
            )
    columns = {
        name: [getattr(row, name) for row in rows.values()]
        for name in ("prompt_id", "prompt", "response", "split")
    }
    return DemonstrationRows(SFT.frame({"sft_id": list(rows), **columns}), counts)


@dataclass
class _Row:
    """A demonstration; units: its group, folded prompt, prompt and itself, from large to small."""

    prompt_id: str
    prompt: str
    response: str
    units: tuple[str, str, str, str]
    split: str


def _drawn(group: str, fractions: SplitFractions, seed: int) -> str:
    return "validation" if draw_split(group, fractions, seed) == "validation" else "train"


def _split_both_ways(
    rows: Sequence[_Row], split_of: Mapping[str, str], share: float, seed: int
) -> int:
    """Give rows to train or to validation if all rows are in the other.

    Validation takes the first groups in hash order; if there is one group, prompts of it; if there
    is one prompt, rows of it. Rows of groups with validation pairs stay in validation.

    Returns:
        Number of validation rows that share their prompt with train rows.
    """
    if len({row.split for row in rows}) == 2:
        return 0
    movable = [row for row in rows if split_of.get(row.units[0]) != "validation"]
    if len(movable) < len(rows):
        for row in movable:
            row.split = "train"
        return 0
    one_prompt = len({row.units[1] for row in movable}) == 1
    for level in range(4):
        names = hash_order({row.units[level] for row in movable}, seed, "demonstrations")
        if len(names) > 1:
            held_out = set(names[: max(1, int(share * len(names)))])
            for row in movable:
                row.split = "validation" if row.units[level] in held_out else "train"
            break
    return sum(row.split == "validation" for row in movable) if one_prompt else 0


def _account(
    what: str, rows_in: int, rows_out: int, dropped: Mapping[str, int], reasons: Sequence[str]
) -> dict[str, int]:
    assert rows_in == rows_out + sum(dropped.values())
    return {
        f"{what}_rows_in": rows_in,
        f"{what}_rows_out": rows_out,
        **{f"{what}_dropped_{reason}": dropped.get(reason, 0) for reason in reasons},
    }
