"""Assemble `SourceData` from canonical pairs: splits by prompt group, D_L and D_U, demonstrations.

Half of the train prompt groups form D_U, the unlabeled prompts; the pairs of the other half form
D_L, the paper's HF50. Demonstrations are the chosen responses of *all* train pairs, as in the
paper, which fine-tunes on HH's chosen responses. The policy is therefore trained on the chosen
responses of D_U's prompts, but no reward model is. Demonstrations and D_U can also come from other
files, see `Extras`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

import polars as pl

from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.sft import SFT
from westofn.artifacts.world import WORLD
from westofn.params.prepare import FilesParams
from westofn.sources.data import SourceData, labeled_half
from westofn.sources.extras import Extras, demonstrations_frame, unlabeled_prompts
from westofn.sources.formats.rows import Pair
from westofn.sources.splits import (
    NEAR_DUPLICATE_JACCARD,
    PromptGroups,
    SplitFractions,
    assign_splits,
    first_half,
    group_prompts,
    hash_order,
    largest_groups,
    stable_id,
)

LARGE_SHARE = 0.1
"""Share of the prompts from which a group is large enough for a warning."""


def assemble(
    pairs: Sequence[Pair],
    source: str,
    params: FilesParams,
    seed: int,
    *,
    counts: Mapping[str, int],
    where: Path | str,
    extras: Extras | None = None,
) -> SourceData:
    """Split pairs by prompt group and build the canonical frames.

    Args:
        pairs: distinct pairs.
        source: name of the source, the prefix of the column `source`.
        params: fractions of the prompt groups, and the largest number of test prompts (the first in
            hash order are used).
        seed: seed of the splits and of D_U.
        counts: row counts so far.
        where: name of the data in error messages.
        extras: demonstrations and unlabeled prompts from other files.

    Returns:
        Frames that do not depend on the order of the pairs. World has 0 rows.

    Raises:
        DataError: a split is empty.
    """
    extras = extras or Extras()
    all_prompts = {pair.prompt for pair in pairs} | extras.texts()
    groups = _named_by_pairs(
        group_prompts(all_prompts, params.jaccard), {pair.prompt_id for pair in pairs}
    )
    fractions = SplitFractions(
        params.validation_fraction, params.test_fraction, params.autorater_fraction
    )
    labelled_groups = {groups.group_of[pair.prompt_id] for pair in pairs}
    note = _largest(groups, all_prompts)
    split_of = assign_splits(labelled_groups, fractions, seed, str(where), note)
    preferences = _preferences(pairs, source, groups, split_of)
    unlabeled = unlabeled_prompts(extras, preferences, groups, split_of)
    prompts = pl.concat(
        [
            _prompts(preferences, groups, split_of, params.max_test_prompts, seed, extras.half),
            unlabeled.frame,
        ]
    )
    if extras.demonstrations is None:
        sft, demonstration_counts = _chosen(preferences), {}
    else:
        demonstrations = demonstrations_frame(
            extras.demonstrations, groups, split_of, fractions, seed, where
        )
        sft, demonstration_counts = demonstrations.frame, demonstrations.counts
    return SourceData.validated(
        sft=sft,
        preferences=preferences,
        prompts=prompts,
        world=WORLD.empty(),
        counts={
            **counts,
            **demonstration_counts,
            **unlabeled.counts,
            **_split_counts(preferences, prompts, sft),
            **_group_counts(groups),
        },
        where=where,
        warnings=_warnings(groups, note, where),
        groups=groups if params.jaccard == NEAR_DUPLICATE_JACCARD else None,
    )


def _named_by_pairs(groups: PromptGroups, labelled: Set[str]) -> PromptGroups:
    """Name each group by its labelled prompts, so that extras do not change the splits."""
    name_of: dict[str, str] = {}
    for name in sorted(labelled, key=groups.folded.__getitem__):
        name_of.setdefault(groups.group_of[name], groups.folded[name])
    return replace(
        groups,
        group_of={name: name_of.get(group, group) for name, group in groups.group_of.items()},
    )


def _preferences(
    pairs: Sequence[Pair], source: str, groups: PromptGroups, split_of: Mapping[str, str]
) -> pl.DataFrame:
    return PREFERENCES.frame(
        {
            "pair_id": [pair.pair_id for pair in pairs],
            "prompt_id": [pair.prompt_id for pair in pairs],
            "prompt": [pair.prompt for pair in pairs],
            "chosen": [pair.chosen for pair in pairs],
            "rejected": [pair.rejected for pair in pairs],
            "split": [split_of[groups.group_of[pair.prompt_id]] for pair in pairs],
            "source": [f"{source}/{pair.subset}" if pair.subset else source for pair in pairs],
            "label_source": [pair.label_source for pair in pairs],
            "p_chosen": [pair.p_chosen for pair in pairs],
        }
    )


def _prompts(
    preferences: pl.DataFrame,
    groups: PromptGroups,
    split_of: Mapping[str, str],
    max_test_prompts: int,
    seed: int,
    half: bool,
) -> pl.DataFrame:
    """Select the test prompts and, if `half`, the prompts of half of the train groups."""
    # Texts of one prompt_id can differ in white space around them; the smallest is used.
    text_of = dict(preferences.group_by("prompt_id").agg(pl.col("prompt").min()).iter_rows())
    group_of = {name: group for name, group in groups.group_of.items() if name in text_of}
    train = [group for group, split in split_of.items() if split == "train"]
    unlabeled_groups = first_half(train, seed) if half else frozenset()
    unlabeled = [name for name, group in group_of.items() if group in unlabeled_groups]
    test = [name for name, group in group_of.items() if split_of[group] == "test"]
    order = hash_order({groups.folded[name] for name in test}, seed, "test prompts")
    place_of = {folded: place for place, folded in enumerate(order)}
    test = sorted(test, key=lambda name: (place_of[groups.folded[name]], name))[:max_test_prompts]
    names = [*unlabeled, *test]
    return PROMPTS.frame(
        {
            "prompt_id": names,
            "prompt": [text_of[name] for name in names],
            "split": ["unlabeled"] * len(unlabeled) + ["test"] * len(test),
        }
    )


def _chosen(preferences: pl.DataFrame) -> pl.DataFrame:
    """Build demonstrations from the distinct chosen responses of train and validation pairs."""
    chosen = (
        preferences.filter(pl.col("split").is_in(["train", "validation"]))
        .sort("prompt_id", "chosen", "prompt")
        .unique(["prompt_id", "chosen"], keep="first", maintain_order=True)
    )
    return SFT.frame(
        {
            "sft_id": [
                stable_id("s", name, response)
                for name, response in chosen.select("prompt_id", "chosen").iter_rows()
            ],
            "prompt_id": chosen["prompt_id"],
            "prompt": chosen["prompt"],
            "response": chosen["chosen"],
            "split": chosen["split"],
        }
    )


def _split_counts(
    preferences: pl.DataFrame, prompts: pl.DataFrame, sft: pl.DataFrame
) -> dict[str, int]:
    counted = {
        f"pairs_{split}": int((preferences["split"] == split).sum())
        for split in ("train", "validation", "test", "autorater")
    }
    counted["pairs_hf50"] = labeled_half(preferences, prompts).height
    for split in ("unlabeled", "test"):
        counted[f"prompts_{split}"] = int((prompts["split"] == split).sum())
    for split in ("train", "validation"):
        counted[f"sft_{split}"] = int((sft["split"] == split).sum())
    return counted


def _group_counts(groups: PromptGroups) -> dict[str, int]:
    sizes = Counter(groups.group_of.values()).values()
    return {
        "prompts": len(groups.group_of),
        "prompt_groups": len(groups.names),
        "spellings_joined": len(groups.spellings),
        "openings_joined": len(groups.openings),
        "near_duplicates_joined": len(groups.near_duplicates),
        "groups_of_two_or_more": sum(size > 1 for size in sizes),
        "largest_group": max(sizes),
    }


def _largest(groups: PromptGroups, prompts: Set[str]) -> str:
    """Describe the largest group and the setting that changes it; "" if no two prompts joined."""
    for group in largest_groups(groups, prompts, 1):
        setting = _SETTING if group.by_near_duplicates else _NO_SETTING
        return f"; the largest group has {group}; {setting}"
    return ""


def _warnings(groups: PromptGroups, note: str, where: Path | str) -> tuple[str, ...]:
    share = max(Counter(groups.group_of.values()).values()) / len(groups.group_of)
    if not note or share <= LARGE_SHARE:
        return ()
    return (f"{where}: one split takes {share:.0%} of the prompts at once{note}",)


_SETTING = "if they are different questions, raise prepare.files.near_duplicates or set it to off"
_NO_SETTING = "prepare.files.near_duplicates does not change it"
