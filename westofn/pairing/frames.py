"""Selected pairs as frames of the artifact schemas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch

from westofn.artifacts.pool_margins import MAX_POOLS, POOL_MARGINS, evenly
from westofn.core.selection import BestWorst
from westofn.pairing.select import Selection
from westofn.pairing.usable import Faults


def pairs_frame(selection: Selection) -> pl.DataFrame:
    """Table pairs."""
    stds = None if selection.pool_std is None else selection.pool_std.numpy()
    spread = pl.lit(None, dtype=pl.Float32) if stds is None else pl.Series(stds)
    frame = pair_indices(selection.prompt_ids, selection.pairs).with_columns(pool_std=spread)
    return with_faults(frame, selection.pairs, selection.faults)


def with_faults(frame: pl.DataFrame, pairs: BestWorst, faults: Faults) -> pl.DataFrame:
    """Add column fault to one pair a prompt."""
    values = faults.of_pairs(pairs.best.numpy(), pairs.worst.numpy())
    return frame.with_columns(pl.Series("fault", values, dtype=pl.String))


def nested_frame(selection: Selection) -> pl.DataFrame:
    """Table nested_pairs."""
    return pl.concat(
        pair_indices(selection.prompt_ids, pair).select(
            "prompt_id",
            pl.lit(n, dtype=pl.Int32).alias("n"),
            "chosen_index",
            "rejected_index",
            "p_chosen",
        )
        for n, pair in selection.nested.items()
    )


def margins_frame(selection: Selection, max_pools: int = MAX_POOLS) -> pl.DataFrame:
    """Table pool_margins, of at most so many pools at equal distances."""
    if selection.mean_margins is None:
        return POOL_MARGINS.empty()
    rows = evenly(len(selection.prompt_ids), max_pools)
    margins = selection.mean_margins[torch.from_numpy(rows)]
    count = margins.shape[1]
    return POOL_MARGINS.frame(
        {
            "prompt_id": np.repeat(np.array(selection.prompt_ids, object)[rows], count),
            "candidate_index": np.tile(np.arange(count, dtype=np.int32), len(rows)),
            "margin": margins.float().flatten().numpy(),
            "fault": selection.faults.of_pools(rows),
        }
    )


def pair_indices(prompt_ids: Sequence[str], pair: BestWorst) -> pl.DataFrame:
    """Columns prompt_id, chosen_index, rejected_index, p_chosen of one pair a prompt."""
    return pl.DataFrame(
        [
            pl.Series("prompt_id", prompt_ids, dtype=pl.String),
            pl.Series("chosen_index", pair.best.int().numpy()),
            pl.Series("rejected_index", pair.worst.int().numpy()),
            pl.Series("p_chosen", pair.p_best.numpy()),
        ]
    )


def summarise(selection: Selection) -> dict[str, object]:
    """Counts, costs and the spread of the pairs' confidence."""
    p_chosen = selection.pairs.p_best
    quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)
    values = torch.quantile(p_chosen.double(), torch.tensor(quantiles).double()).tolist()
    return {
        "prompts": len(selection.prompt_ids),
        "pairs_selected": len(p_chosen),
        "n_candidates": selection.faults.cut.shape[1],
        "comparator": selection.base.comparator.name,
        "members": selection.base.members,
        "forward_passes": selection.forward_passes,
        "candidates": selection.faults.cut.size,
        "candidates_cut": int(selection.faults.cut.sum()),
        "candidates_too_long": int(selection.faults.too_long.sum()),
        "prompts_trimmed": selection.prompts_trimmed,
        "pools_without_two": int((selection.faults.usable.sum(1) < 2).sum()),
        "max_response_tokens": selection.faults.limit.value,
        "response_tokens_for_95_percent": selection.faults.limit.for_most,
        "distinct_responses": selection.distinct_responses,
        "p_chosen_quantiles": {f"{q:g}": v for q, v in zip(quantiles, values, strict=True)},
    }
