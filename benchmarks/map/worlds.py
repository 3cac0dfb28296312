"""One world of the map: its policy, pools and human pairs, made once and kept in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl
import torch

from benchmarks.kept import kept_candidates, kept_policy
from westofn.core.seeds import derive_seed
from westofn.generation.sample_pools import Draw
from westofn.models.policy import Policy
from westofn.params.whole import Params
from westofn.sources.data import SourceData
from westofn.sources.world import load_world
from westofn.training.sft import Examples


@dataclass(frozen=True)
class World:
    """A policy and its pools at one alignment, with one seed.

    The policy learns from the forum alone, so all off-policynesses and numbers of labels share it.

    Attributes:
        params: All of params.yaml; `prepare.world` is replaced by what the map asks for.
        alignment: The world's.
        seed: Decides the world, the policy and the samples.
        folder: Where policy and pools are kept.
    """

    params: Params
    alignment: float
    seed: int
    folder: Path

    def data(self, off_policyness: float, train_pairs: int, extra_prompts: int = 0) -> SourceData:
        """The frames of the world at one off-policyness and number of human pairs."""
        world = self.params.prepare.world.model_copy(
            update={
                "alignment": self.alignment,
                "off_policyness": off_policyness,
                "train_pairs": train_pairs,
                "extra_prompts": extra_prompts,
            }
        )
        return load_world(world, self.seed)

    @property
    def policy_folder(self) -> Path:
        """The SFT policy."""
        return self.folder / "policy"

    @cached_property
    def policy(self) -> Policy:
        """The SFT policy; trained where the folder does not hold it yet."""
        return kept_policy(self.policy_folder, self._demonstrations, self.params.sft, self.seed)

    def _demonstrations(self) -> tuple[Examples, Examples]:
        """SFT examples of train and validation."""
        frame = self.data(0.0, 8).sft
        train, validation = (
            Examples(rows["prompt"].to_list(), rows["response"].to_list())
            for rows in (frame.filter(pl.col("split") == s) for s in ("train", "validation"))
        )
        return train, validation

    def candidates(self, name: str, prompts: pl.DataFrame, n_candidates: int) -> pl.DataFrame:
        """Table candidates of some prompts; `name` keys the file and the draws."""
        path = self.folder / f"{name}-{len(prompts)}x{n_candidates}.parquet"
        draw = Draw(
            n_candidates, self.params.sample.temperature, derive_seed(self.seed, "map", name)
        )
        return kept_candidates(path, self.policy, prompts, draw, f"{name} of seed {self.seed}")


def one_thread() -> None:
    """A process a core is faster than threads that share a small model."""
    torch.set_num_threads(1)
