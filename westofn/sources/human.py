"""Human pairs as `prepare` wrote them, for the models that are trained on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.sources.data import labeled_half


@dataclass(frozen=True)
class HumanData:
    """Human pairs: what trains an arm, and what picks its checkpoint.

    Attributes:
        files: What they were read from.
        preferences: Table preferences, all splits.
        prompts: Table prompts.
        train: Rows of preferences that train the arm; all of split train as read.
    """

    files: list[Path]
    preferences: pl.DataFrame
    prompts: pl.DataFrame
    train: pl.DataFrame

    @classmethod
    def read(cls, prepared: Path) -> HumanData:
        """HF100: all train pairs."""
        files = [prepared / "preferences.parquet", prepared / "prompts.parquet"]
        preferences = PREFERENCES.read(files[0])
        train = preferences.filter(pl.col("split") == "train")
        return cls(files, preferences, PROMPTS.read(files[1]), train)

    def labeled_half(self) -> HumanData:
        """HF50, the paper's D_L: without the pairs whose prompts are D_U."""
        return replace(self, train=labeled_half(self.preferences, self.prompts))

    def held_out(self, split: str) -> HumanData:
        """The pairs of another split as training pairs."""
        return replace(self, train=self.preferences.filter(pl.col("split") == split))

    @property
    def validation(self) -> pl.DataFrame:
        """The pairs that pick a checkpoint."""
        return self.preferences.filter(pl.col("split") == "validation")
