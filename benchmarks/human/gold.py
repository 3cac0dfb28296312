"""How many best-and-worst pairs of human texts are right, by what people said of the same pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from benchmarks.human.settings import POOL_DRAWS, POOL_SIZES
from westofn.core.comparators import margins
from westofn.core.seeds import derive_seed
from westofn.core.selection import BestWorst, nested_best_worst
from westofn.evaluation.records import Record

WHOLE = "all"
"""A pool of all texts of a stance."""


@dataclass(frozen=True)
class Stance:
    """The human texts of one prompt and their human order.

    Attributes:
        name: The prompt.
        texts: All of them, each once.
        order: (texts, texts) 1 where people prefer the row to the column, −1 where the column, 0
            where the pair was not judged.
    """

    name: str
    texts: Sequence[str]
    order: Tensor


def stances_of(texts: Mapping[str, Sequence[str]], pairs: pl.DataFrame) -> list[Stance]:
    """The stances with what their pairs say; a pair that was judged both ways counts as not."""
    stances = []
    for prompt, some in texts.items():
        place = {text: index for index, text in enumerate(some)}
        order = torch.zeros(len(some), len(some))
        judged = pairs.filter(pl.col("prompt") == prompt).select("chosen", "rejected")
        for chosen, rejected in judged.iter_rows():
            if chosen in place and rejected in place:
                order[place[chosen], place[rejected]] += 1
                order[place[rejected], place[chosen]] -= 1
        stances.append(Stance(prompt, some, order.sign()))
    return stances


def label_correctness(
    stances: Sequence[Stance], scores: Sequence[Tensor], seed: int
) -> list[Record]:
    """Share of right labels among the pairs that people judged, against the pool's size.

    Args:
        stances: With at least two texts each.
        scores: (texts,) of a teacher, for each stance.
        seed: Decides the random pools, the same for all teachers.

    Returns:
        A record for each of POOL_SIZES and for WHOLE: `n`, `right` (absent where no pair was
        judged) and `judged`, the share of selected pairs that people judged.
    """
    counts: dict[str, list[float]] = {}
    for stance, given in zip(stances, scores, strict=True):
        count = len(stance.texts)
        chance = torch.Generator().manual_seed(derive_seed(seed, "human gold", stance.name))
        order = torch.rand(POOL_DRAWS, count, generator=chance).argsort(-1)
        compared = margins(given[order].double().unsqueeze(-1))
        sizes = [size for size in POOL_SIZES if size < count]
        for size, pairs in nested_best_worst(compared, sizes).items():
            _add(counts, str(size), stance, order, pairs)
        whole = nested_best_worst(compared[:1], [count])[count]
        _add(counts, WHOLE, stance, order[:1], whole)
    return [
        {
            "n": size,
            "judged": judged / made,
            **({"right": right / judged} if judged else {}),
        }
        for size, (right, judged, made) in counts.items()
    ]


def _add(
    counts: dict[str, list[float]], size: str, stance: Stance, order: Tensor, pairs: BestWorst
) -> None:
    rows = torch.arange(len(order))
    verdicts = stance.order[order[rows, pairs.best], order[rows, pairs.worst]]
    totals = counts.setdefault(size, [0.0, 0.0, 0.0])
    totals[0] += float((verdicts > 0).sum())
    totals[1] += float((verdicts != 0).sum())
    totals[2] += len(verdicts)
