"""The models that label pools, and what their heads say of the candidates, in shards.

The models say the same whatever is chosen by it, so a shard holds the outputs of their heads. A
killed run goes on with them, also under another selector or pessimism.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from westofn.artifacts.checks import at_least
from westofn.artifacts.pools import Pools
from westofn.artifacts.table import Column, Table
from westofn.core.comparators import COMPARATORS, Comparator
from westofn.execution.job import Job
from westofn.execution.shards import group_files
from westofn.models.card import Card, member_folders, read_card
from westofn.models.ensemble import Anchor, Ensemble, load_anchor, load_reward_models
from westofn.models.folder import load_encoder
from westofn.models.reward import Scorer
from westofn.models.scoring import TextPools, pool_margins
from westofn.runtime import set_up_torch
from westofn.text.encoding import Encoder

HEAD_OUTPUTS = Table(
    name="head_outputs",
    description="What one model says of the candidates of a prompt.",
    written_by=("won_select",),
    read_by=("won_select",),
    fields={
        "prompt_id": Column(pl.String(), "name of the prompt"),
        "member": Column(pl.Int32(), "place of the model: members of the base, then of the anchor"),
        "values": Column(
            pl.List(pl.Float32()),
            "the head's outputs of each candidate, or of a model that reads pairs all margins",
        ),
    },
    key=("prompt_id", "member"),
    checks=(at_least("member", 0),),
)
"""A shard in .scratch; no stage reads the table from another one."""


@dataclass(frozen=True)
class Panel:
    """Models that judge together: how they compare, and how many they are."""

    comparator: Comparator
    members: int

    @classmethod
    def of(cls, ensemble: Ensemble) -> Panel:
        """The panel of loaded models."""
        return cls(ensemble.comparator, len(ensemble.members))

    def forward_passes(self, candidates: int, comparisons: int) -> int:
        """Forward passes of all members for a pool, of which so many pairs are compared."""
        return self.members * self.comparator.forward_passes(candidates, comparisons)


@dataclass(frozen=True)
class Teacher:
    """Loaded models: the base, beside which the anchor judges a later round."""

    base: Ensemble
    anchor: Anchor | None = None

    @property
    def panels(self) -> list[Panel]:
        """The base's, and the anchor's if there is one."""
        return [Panel.of(self.base), *([Panel.of(self.anchor.model)] if self.anchor else [])]

    @property
    def members(self) -> tuple[Scorer, ...]:
        """All models: those of the base, then those of the anchor."""
        return self.base.members + (self.anchor.model.members if self.anchor else ())

    def outputs(self, pools: Pools) -> list[Tensor]:
        """What each model says of pools: (P, N, F), or (P, N, N) margins if it reads pairs."""
        return [
            pool_margins(member, pools.prompts, pools.responses)
            if member.comparator.reads_pairs
            else TextPools(member, pools.prompts, pools.responses).responses()
            for member in self.members
        ]


@dataclass(frozen=True)
class SavedTeacher:
    """A teacher in its folders, whose weights are loaded by the processes that ask it.

    Attributes:
        base: Folder of the base.
        anchor: Folder of the anchor; read if it has a weight.
        weight: The share of the anchor's margins, in [0, 1].
        panels: As those of `Teacher`.
        encoder: Reads texts as every member does.
    """

    base: Path
    anchor: Path
    weight: float
    panels: list[Panel]
    encoder: Encoder

    @classmethod
    def of(cls, base: Path, anchor: Path, weight: float) -> SavedTeacher:
        """The teacher of these folders.

        Raises:
            ModelError: A folder is missing or incomplete, or differs from its card.
        """
        members = [member_folders(folder) for folder in ([base, anchor] if weight else [base])]
        cards = [read_card(first, "reward_model") for first, *_ in members]
        panels = [
            Panel(_comparator(card), len(folders))
            for card, folders in zip(cards, members, strict=True)
        ]
        return cls(base, anchor, weight, panels, load_encoder(members[0][0], cards[0]))

    def load(self) -> Teacher:
        """The teacher on this machine's device.

        Raises:
            ModelError: See `load_reward_models`.
        """
        device = set_up_torch()
        return Teacher(
            load_reward_models(self.base, device), load_anchor(self.anchor, self.weight, device)
        )


def output_files(
    teacher: SavedTeacher, blocks: Iterable[Pools], folder: Path, total: int | None = None
) -> list[Path]:
    """Files of table head_outputs, one for each block of pools.

    Args:
        teacher: The models.
        blocks: Pools with as many candidates each; a block is read when its turn comes.
        folder: Scratch folder of exactly these pools and models; its finished shards are used.
        total: Number of pools, if it is known.

    Raises:
        ModelError: See `SavedTeacher.load`.
    """
    return group_files(
        blocks,
        Job(teacher.load, _frame),
        table=HEAD_OUTPUTS,
        folder=folder,
        total=total,
        description="scoring candidates",
    )


def read_outputs(path: Path, n_candidates: int) -> list[Tensor]:
    """What `Teacher.outputs` returned for the pools of a shard."""
    frame = HEAD_OUTPUTS.read(path)
    outputs = []
    for (_,), rows in frame.group_by("member", maintain_order=True):
        values = rows["values"]
        width = values.list.len()[0]
        array = values.list.to_array(width).to_numpy(allow_copy=True)
        outputs.append(torch.from_numpy(np.array(array)).view(len(rows), n_candidates, -1))
    return outputs


def _frame(teacher: Teacher, pools: Pools) -> pl.DataFrame:
    return pl.concat(
        HEAD_OUTPUTS.frame(
            {
                "prompt_id": pools.prompt_ids,
                "member": [place] * len(pools),
                "values": pl.Series(outputs.flatten(1).numpy()).cast(pl.List(pl.Float32())),
            }
        )
        for place, outputs in enumerate(teacher.outputs(pools))
    )


def _comparator(card: Card) -> Comparator:
    assert card.comparator is not None  # which `Card` validates
    return COMPARATORS[card.comparator]
