"""Pools and pairs as frames of the artifact schemas."""

from __future__ import annotations

import polars as pl
import torch

from westofn.core.selection import BestWorst
from westofn.errors import DataError
from westofn.models.ensemble import Ensemble
from westofn.pairing.select import Pools, Selection


def pools_from_frames(candidates: pl.DataFrame, prompts: pl.DataFrame, needed: int) -> Pools:
    """Join candidates (table candidates) with the texts of their prompts.

    Args:
        candidates: The pool.
        prompts: Table prompts; prompts without candidates are left out.
        needed: The N that the parameters ask for; a larger pool is cut to its first N.

    Raises:
        DataError: A prompt has fewer than N candidates, or none of the prompts has any.
    """
    kept = candidates.filter(pl.col("candidate_index") < needed)
    unknown = kept.join(prompts, on="prompt_id", how="anti")["prompt_id"].unique().sort()
    if len(unknown) and len(unknown) < kept["prompt_id"].n_unique():
        raise DataError(
            f"won_select: {len(unknown)} prompts with candidates, first {unknown[0]}, are not in "
            "table prompts; rerun prepare and sample"
        )
    grouped = kept.sort("prompt_id", "candidate_index").group_by("prompt_id", maintain_order=True)
    pools = grouped.agg(pl.col("response"), pl.len().alias("n")).join(
        prompts, on="prompt_id", how="inner", maintain_order="left"
    )
    if not pools.height:
        raise DataError("won_select: no prompt has candidates; rerun sample")
    short = pools.filter(pl.col("n") < needed)
    if short.height:
        name, count = short["prompt_id"][0], short["n"][0]
        raise DataError(
            f"won_select: prompt {name} has {count} candidates, needs {needed} "
            f"(sample.n_candidates), as have {short.height} prompts; rerun sample"
        )
    return Pools(
        pools["prompt_id"].to_list(), pools["prompt"].to_list(), pools["response"].to_list()
    )


def pairs_frame(pools: Pools, selection: Selection) -> pl.DataFrame:
    """Table pairs."""
    frame = _indices(pools, selection.pairs)
    if selection.pool_std is None:
        return frame.with_columns(pool_std=pl.lit(None, dtype=pl.Float32))
    return frame.with_columns(
        pl.Series("pool_std", selection.pool_std.tolist(), dtype=pl.Float32),
    )


def nested_frame(pools: Pools, selection: Selection) -> pl.DataFrame:
    """Table nested_pairs."""
    return pl.concat(
        _indices(pools, pair).select(
            "prompt_id",
            pl.lit(n, dtype=pl.Int32).alias("n"),
            "chosen_index",
            "rejected_index",
            "p_chosen",
        )
        for n, pair in selection.nested.items()
    )


def _indices(pools: Pools, pair: BestWorst) -> pl.DataFrame:
    return pl.DataFrame(
        [
            pl.Series("prompt_id", pools.prompt_ids, dtype=pl.String),
            pl.Series("chosen_index", pair.best.tolist(), dtype=pl.Int32),
            pl.Series("rejected_index", pair.worst.tolist(), dtype=pl.Int32),
            pl.Series("p_chosen", pair.p_best.tolist(), dtype=pl.Float32),
        ]
    )


def summarise(pools: Pools, selection: Selection, base: Ensemble) -> dict[str, object]:
    """Counts, costs and the spread of the pairs' confidence."""
    p_chosen = selection.pairs.p_best
    quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)
    values = torch.quantile(p_chosen.double(), torch.tensor(quantiles).double()).tolist()
    return {
        "prompts": len(pools.prompts),
        "pairs_selected": len(p_chosen),
        "n_candidates": pools.n_candidates,
        "comparator": base.comparator.name,
        "members": len(base.members),
        "forward_passes": selection.forward_passes,
        "distinct_responses": sum(len(set(pool)) for pool in pools.responses),
        "p_chosen_quantiles": {f"{q:g}": v for q, v in zip(quantiles, values, strict=True)},
    }
