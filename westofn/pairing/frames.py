"""Selected pairs as frames of the artifact schemas."""

from __future__ import annotations

import polars as pl
import torch

from westofn.artifacts.pools import Pools
from westofn.core.selection import BestWorst
from westofn.models.ensemble import Ensemble
from westofn.pairing.select import Selection
from westofn.pairing.usable import Faults


def pairs_frame(pools: Pools, selection: Selection) -> pl.DataFrame:
    """Table pairs."""
    stds = None if selection.pool_std is None else selection.pool_std.tolist()
    spread = pl.Series("pool_std", stds or [None] * len(pools.prompts), dtype=pl.Float32)
    frame = pair_indices(pools, selection.pairs).with_columns(spread)
    return with_faults(frame, selection.pairs, selection.faults)


def with_faults(frame: pl.DataFrame, pairs: BestWorst, faults: Faults) -> pl.DataFrame:
    """Add column fault to one pair a prompt."""
    values = faults.of_pairs(pairs.best.numpy(), pairs.worst.numpy())
    return frame.with_columns(pl.Series("fault", values, dtype=pl.String))


def nested_frame(pools: Pools, selection: Selection) -> pl.DataFrame:
    """Table nested_pairs."""
    return pl.concat(
        pair_indices(pools, pair).select(
            "prompt_id",
            pl.lit(n, dtype=pl.Int32).alias("n"),
            "chosen_index",
            "rejected_index",
            "p_chosen",
        )
        for n, pair in selection.nested.items()
    )


def pair_indices(pools: Pools, pair: BestWorst) -> pl.DataFrame:
    """Columns prompt_id, chosen_index, rejected_index, p_chosen of one pair a prompt."""
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
        "candidates": selection.faults.cut.size,
        "candidates_cut": int(selection.faults.cut.sum()),
        "candidates_too_long": int(selection.faults.too_long.sum()),
        "prompts_trimmed": sum(base.encoder.trims(pools.prompts)),
        "pools_without_two": int((selection.faults.usable.sum(1) < 2).sum()),
        "max_response_tokens": selection.faults.limit.value,
        "response_tokens_for_95_percent": selection.faults.limit.for_most,
        "distinct_responses": sum(len(set(pool)) for pool in pools.responses),
        "p_chosen_quantiles": {f"{q:g}": v for q, v in zip(quantiles, values, strict=True)},
    }
