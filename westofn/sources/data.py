"""The data of a source: canonical frames without leaks between splits, and row counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.sft import SFT
from westofn.artifacts.table import show
from westofn.artifacts.world import WORLD
from westofn.errors import DataError
from westofn.sources.splits import PromptGroups, check_no_leak

ANSWERS = "answers"
"""Value of the column `source` for pairs that people labelled for `export questions`."""


@dataclass(frozen=True)
class SourceData:
    """The canonical frames of one source; build it with `validated`.

    Attributes:
        sft: demonstrations (table sft).
        preferences: human pairs of all splits (table preferences). HF100 is split train. HF50, the
            paper's D_L, is the pairs of split train whose prompts are not in D_U, and all answers.
        prompts: D_U (split unlabeled) and the test prompts (table prompts).
        world: facts for the gold annotator (table world); 0 rows without a gold annotator.
        counts: numbers of rows and prompts.
        unread: columns of the preferences that are not read.
        warnings: what a person should look at, one line each.
        groups: groups of all prompts, with near duplicates from `NEAR_DUPLICATE_JACCARD` on; None
            if the source formed none or others.
    """

    sft: pl.DataFrame
    preferences: pl.DataFrame
    prompts: pl.DataFrame
    world: pl.DataFrame
    counts: dict[str, int]
    unread: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    groups: PromptGroups | None = None

    @classmethod
    def validated(
        cls,
        *,
        sft: pl.DataFrame,
        preferences: pl.DataFrame,
        prompts: pl.DataFrame,
        world: pl.DataFrame,
        counts: dict[str, int],
        where: Path | str,
        warnings: tuple[str, ...] = (),
        groups: PromptGroups | None = None,
    ) -> SourceData:
        """Check the frames against their tables and for consistency.

        Args:
            sft: see the class.
            preferences: see the class.
            prompts: see the class.
            world: see the class.
            counts: see the class.
            where: name of the data in error messages: a path, or the name of a source.
            warnings: see the class.
            groups: see the class.

        Returns:
            The frames in canonical order.

        Raises:
            DataError: a frame violates its table, a prompt is in two splits, HF50 or D_U is empty,
                or the world has no facts for a prompt.
        """
        data = cls(
            sft=SFT.validate(sft, where),
            preferences=PREFERENCES.validate(preferences, where),
            prompts=PROMPTS.validate(prompts, where),
            world=WORLD.validate(world, where),
            counts=dict(counts),
            warnings=warnings,
            groups=groups,
        )
        frames = {"sft": data.sft, "preferences": data.preferences, "prompts": data.prompts}
        check_no_leak(frames, str(where))
        _check_halves(data, where)
        _check_world(data, where)
        return data

    def hf50(self) -> pl.DataFrame:
        """Return D_L, see `labeled_half`."""
        return labeled_half(self.preferences, self.prompts)


def labeled_half(preferences: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    """Return D_L (HF50): the train pairs whose prompts are not in D_U, and all answers.

    An answer labels two of the policy's candidates, mostly for a prompt of D_U. The data's own
    pair for that prompt is not part of D_L.

    Args:
        preferences: a frame of table preferences.
        prompts: a frame of table prompts.

    Returns:
        Rows of `preferences`, in the same order.
    """
    unlabeled = prompts.filter(pl.col("split") == "unlabeled")
    train = preferences.filter(pl.col("split") == "train")
    in_d_u = pl.col("prompt_id").is_in(unlabeled["prompt_id"].implode())
    return train.filter(~in_d_u | (pl.col("source") == ANSWERS))


def _check_halves(data: SourceData, where: Path | str) -> None:
    train = int((data.preferences["split"] == "train").sum())
    labeled = data.hf50().height
    if labeled == 0:
        raise DataError(
            f"{where}: all {train} train pairs have prompts in D_U, so HF50 is empty; "
            f"needs pairs whose prompts are not unlabeled: give more data"
        )
    for split in ("unlabeled", "test"):
        if split not in data.prompts["split"]:
            raise DataError(
                f"{where}: no prompt has split {split}; needs at least 1: give more data"
            )


def _check_world(data: SourceData, where: Path | str) -> None:
    if data.world.height == 0:
        return
    without_facts = data.prompts.join(data.world, on="prompt_id", how="anti")
    if without_facts.height:
        raise DataError(
            f"{where}: world has no facts for {without_facts.height} of {data.prompts.height} "
            f"prompts, first {show(without_facts.item(0, 'prompt_id'))}; needs facts for each, "
            f"or 0 rows"
        )
