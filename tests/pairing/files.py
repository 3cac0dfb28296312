"""Pools as a file of table candidates."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.pools import PoolFile, Pools


def pool_file(pools: Pools, folder: Path) -> PoolFile:
    """Write pools, of which the limit of tokens cut every fourth response."""
    names, _, responses = pools.flat()
    size = pools.n_candidates
    CANDIDATES.write(
        CANDIDATES.frame(
            {
                "prompt_id": names,
                "candidate_index": list(range(size)) * len(pools),
                "response": responses,
                "logprob": [-1.0] * len(names),
                "n_tokens": [1] * len(names),
                "finish_reason": [
                    "length" if row % 4 == 1 else "stop" for row in range(len(names))
                ],
            }
        ),
        folder / "candidates.parquet",
    )
    prompts = pl.DataFrame({"prompt_id": pools.prompt_ids, "prompt": pools.prompts})
    return PoolFile(folder / "candidates.parquet", prompts, size)
