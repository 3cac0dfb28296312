"""How often a pool's pair changes when its responses are scored one by one: fp32 against bf16.

    python -m benchmarks.bench_batch_flips --rm data/loop/k0/rm

A score may not depend on what else is in its batch. Up to rounding it does not, and in fp32
rounding is too small to move an argmax. In bf16 two candidates that are nearly alike may change
places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.pools import Pools
from westofn.artifacts.prompts import PROMPTS
from westofn.core.comparators import margins
from westofn.core.selection import BestWorst, exact_best_worst
from westofn.errors import ModelError
from westofn.models.card import member_folders
from westofn.models.reward import Scorer
from westofn.models.saved_reward import load_reward_model
from westofn.models.scoring import score_pools
from westofn.params.network import Precision
from westofn.runtime import set_up_torch


@dataclass(frozen=True)
class Flips:
    """What batches of 1 and of many responses differ in.

    Attributes:
        pairs: Share of pools whose (chosen, rejected) texts differ.
        largest: Largest difference of a margin.
        spread: Standard deviation of the margins, to compare it with.
    """

    pairs: float
    largest: float
    spread: float


def batch_flips(
    scorer: Scorer, prompts: Sequence[str], pools: Sequence[Sequence[str]], batch: int = 64
) -> Flips:
    """Compare the pairs of pools whose responses are scored one by one, and in batches.

    Args:
        scorer: A model whose comparator scores single responses.
        prompts: P prompts.
        pools: N candidates of each.
        batch: Responses scored together, at least; a pool is not divided.

    Raises:
        ModelError: The comparator is joint, which scores pairs.
    """
    if scorer.comparator.reads_pairs:
        raise ModelError("the joint comparator scores pairs, give an embedding or pointwise model")
    together = margins(torch.stack(score_pools(scorer, prompts, pools, batch)))
    alone = margins(
        torch.stack(
            [
                torch.cat([score_pools(scorer, [prompt], [[one]])[0] for one in pool])
                for prompt, pool in zip(prompts, pools, strict=True)
            ]
        )
    )
    one, many = (_texts(exact_best_worst(part), pools) for part in (alone, together))
    flipped = [a != b for a, b in zip(one, many, strict=True)]
    return Flips(
        sum(flipped) / len(flipped),
        float((alone - together).abs().max()),
        float(_above_diagonal(together).std()),
    )


def _texts(chosen: BestWorst, pools: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """Texts and not indices: equal candidates may stand for each other."""
    rows = zip(pools, chosen.best.tolist(), chosen.worst.tolist(), strict=True)
    return [(pool[best], pool[worst]) for pool, best, worst in rows]


def _above_diagonal(square: Tensor) -> Tensor:
    rows, columns = torch.triu_indices(square.shape[-1], square.shape[-1], 1)
    return square[:, rows, columns]


def main(
    rm: Annotated[Path, typer.Option()] = Path("data/loop/k0/rm"),
    candidates: Annotated[Path, typer.Option()] = Path("data/loop/k1/candidates.parquet"),
    prompts: Annotated[Path, typer.Option()] = Path("data/prepared/prompts.parquet"),
    count: Annotated[int, typer.Option(help="prompts")] = 200,
) -> None:
    """Print the rates of a model as it was saved, or of an fp32 one in both precisions."""
    device = set_up_torch()
    pools = Pools.from_frames(CANDIDATES.read(candidates), PROMPTS.read(prompts)).head(count)
    scorer = load_reward_model(member_folders(rm)[0], device)
    size = f"{len(pools.prompts)} pools of {pools.n_candidates}"
    print(f"{size}, batches of 1 against 64, {device}")
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        if precision == "fp32" and scorer.model.backbone.dtype == torch.bfloat16:
            continue
        scorer.model.finish(precision)
        flips = batch_flips(scorer, pools.prompts, pools.responses)
        print(
            f"{precision}: {flips.pairs:.1%} of pairs differ; margins differ by at most "
            f"{flips.largest:.2g}, their standard deviation is {flips.spread:.2g}"
        )


if __name__ == "__main__":
    typer.run(main)
