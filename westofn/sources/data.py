"""What a source hands to the pipeline: canonical frames without leaks, and an account of rows."""

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
from westofn.sources.splits import check_no_leak

ANSWERS = "answers"
"""Source of the pairs that people labelled for `export questions`."""


@dataclass(frozen=True)
class SourceData:
    """The canonical frames of one source; make it with `validated`.

    Attributes:
        sft: demonstrations (table sft).
        preferences: human pairs of all splits (table preferences). HF100 is split train; HF50, the
            paper's D_L, is the part of it whose prompts are not in D_U, and all answers.
        prompts: D_U (split unlabeled) and the test prompts (table prompts).
        world: facts for the gold annotator (table world); 0 rows where there is none.
        counts: the account of rows and prompts.
    """

    sft: pl.DataFrame
    preferences: pl.DataFrame
    prompts: pl.DataFrame
    world: pl.DataFrame
    counts: dict[str, int]

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
    ) -> SourceData:
        """Check the frames against their tables and against each other.

        Args:
            sft: see the class.
            preferences: see the class.
            prompts: see the class.
            world: see the class.
            counts: see the class.
            where: what a message calls the data: a path, or a source's name.

        Returns:
            The frames in canonical order.

        Raises:
            DataError: a frame breaks its table; a prompt is in two splits; a pair of train is
                missing on either side of the halves; or the world lacks a prompt.
        """
        data = cls(
            sft=SFT.validate(sft, where),
            preferences=PREFERENCES.validate(preferences, where),
            prompts=PROMPTS.validate(prompts, where),
            world=WORLD.validate(world, where),
            counts=dict(counts),
        )
        frames = {"sft": data.sft, "preferences": data.preferences, "prompts": data.prompts}
        check_no_leak(frames, str(where))
        _check_halves(data, where)
        _check_world(data, where)
        return data

    def hf50(self) -> pl.DataFrame:
        """Return the train pairs whose prompts are not in D_U, and all answers."""
        return labeled_half(self.preferences, self.prompts)


def labeled_half(preferences: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    """Return D_L (HF50): the train pairs whose prompts are not in D_U, and all answers.

    An answer is about two of the policy's own candidates, mostly for a prompt of D_U; the pair that
    the data has for that prompt stays hidden.

    Args:
        preferences: a frame of table preferences.
        prompts: a frame of table prompts.

    Returns:
        Rows of `preferences`, in their order.
    """
    unlabeled = prompts.filter(pl.col("split") == "unlabeled")
    train = preferences.filter(pl.col("split") == "train")
    hidden = pl.col("prompt_id").is_in(unlabeled["prompt_id"].implode())
    return train.filter(~hidden | (pl.col("source") == ANSWERS))


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
    lacking = data.prompts.join(data.world, on="prompt_id", how="anti")
    if lacking.height:
        raise DataError(
            f"{where}: world has no facts for {lacking.height} of {data.prompts.height} prompts, "
            f"first {show(lacking.item(0, 'prompt_id'))}; needs facts for each, or 0 rows"
        )
