"""Count the prompts that two parts of the data share: equal, respelt or near duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations

import polars as pl

from westofn.sources.data import ANSWERS, SourceData
from westofn.sources.splits import PromptGroups, group_prompts, prompt_id

SAME, RESPELT, NEAR = "same_text", "respelt", "near_duplicates"
"""How two prompts are alike: in their text; apart from case, white space and Unicode form; as near
duplicates or turns of one dialogue."""


def leakage(data: SourceData) -> dict[str, dict[str, int]]:
    """Count the shared prompts of every two parts.

    The parts are train (D_L, without answers, which label D_U by design), D_U, validation, test and
    autorater. A prompt counts once, as the closest kind.

    Returns:
        `prompts`: the number of prompts of each part. For SAME, RESPELT and NEAR the number of
        prompts of the second part that the first has too, by `train and test`.
    """
    texts = _texts(data)
    groups = data.groups or group_prompts(set().union(*texts.values()))
    parts = {
        part: {name: groups.folded[name] for name in map(prompt_id, prompts)}
        for part, prompts in texts.items()
    }
    near = _near(groups)
    counts: dict[str, dict[str, int]] = {
        "prompts": {part: len(prompts) for part, prompts in parts.items()}
    }
    counts |= {kind: {} for kind in (SAME, RESPELT, NEAR)}
    for first, second in combinations(parts, 2):
        for kind, count in _shared(parts[first], parts[second], groups, near).items():
            counts[kind][f"{first} and {second}"] = count
    return counts


def _texts(data: SourceData) -> dict[str, set[str]]:
    """Prompts by part."""
    labelled = data.hf50().filter(pl.col("source") != ANSWERS)
    texts = {
        "train": labelled["prompt"],
        "D_U": data.prompts.filter(pl.col("split") == "unlabeled")["prompt"],
    }
    for split in ("validation", "test", "autorater"):
        texts[split] = pl.concat(
            frame.filter(pl.col("split") == split)["prompt"]
            for frame in (data.preferences, data.prompts)
        )
    return {part: set(prompts) for part, prompts in texts.items()}


def _near(groups: PromptGroups) -> Mapping[str, set[str]]:
    """prompt_id -> near duplicates in other groups."""
    near: defaultdict[str, set[str]] = defaultdict(set)
    for left, right in groups.separated:
        near[left].add(right)
        near[right].add(left)
    return near


def _shared(
    first: Mapping[str, str],
    second: Mapping[str, str],
    groups: PromptGroups,
    near: Mapping[str, set[str]],
) -> dict[str, int]:
    """Count the prompts of the second part that the first part shares, by kind."""
    folded = set(first.values())
    names = {groups.group_of[name] for name in first}
    counts = dict.fromkeys((SAME, RESPELT, NEAR), 0)
    for name, text in second.items():
        if name in first:
            counts[SAME] += 1
        elif text in folded:
            counts[RESPELT] += 1
        elif groups.group_of[name] in names or any(other in first for other in near.get(name, ())):
            counts[NEAR] += 1
    return counts
